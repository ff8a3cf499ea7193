"use strict";
// Planes across z, y and x are drawn from pictures that hold all planes (y, x) of a volume.
for (const look of document.querySelectorAll(".look")) {
  const frame = JSON.parse(look.dataset.frame);
  const layers = [...look.querySelectorAll("img")].map((image) => (
    { image, note: image.alt, ...JSON.parse(image.dataset.bins) }));
  const middle = ([start, stop]) => (start + stop) / 2;
  const at = { z: middle(frame.z), y: middle(frame.y), x: middle(frame.x) };
  let layer = layers[0];

  const bin = (axis) => {
    const edges = layer[axis].edges;
    const later = edges.findIndex((edge) => edge > at[axis]);
    return Math.min(Math.max(later < 0 ? edges.length : later, 1), edges.length - 1) - 1;
  };
  const centre = (axis) => middle(layer[axis].edges.slice(bin(axis)));

  function told(axis) {
    const { places, numbers } = layer[axis];
    const k = bin(axis);
    const length = `${axis} = ${places[k]} nm`;
    return axis === "z" ? `${length}, ${layer.noun} ${numbers[k]}` : length;
  }

  function draw(canvas) {
    const [across, down] = canvas.dataset.axes;
    const paint = canvas.getContext("2d");
    const place = (axis, nm) => Math.round(
      (nm - frame[axis][0]) / (frame[axis][1] - frame[axis][0])
      * (axis === across ? canvas.width : canvas.height));
    const box = (axis, k, stop) => {
      const start = place(axis, layer[axis].edges[k]);
      return [start, place(axis, layer[axis].edges[stop]) - start];
    };
    const whole = (axis) => {
      const { edges } = layer[axis];
      if (axis === "z") return box(axis, 0, edges.length - 1);
      // Bins of pixels are of one length, but for the last one, which the picture's edge cuts.
      const start = place(axis, edges[0]);
      return [start, place(axis, edges[0] + (edges.length - 1) * (edges[1] - edges[0])) - start];
    };
    const [[left, wide], [top, high]] = [whole(across), whole(down)];
    const [rows, columns] = ["y", "x"].map((axis) => layer[axis].edges.length - 1);
    const tile = (k) => [k % layer.columns * columns, Math.floor(k / layer.columns) * rows];
    paint.imageSmoothingEnabled = false;
    paint.clearRect(0, 0, canvas.width, canvas.height);
    paint.fillStyle = look.dataset.gap;  // shows where pictures are clear
    paint.fillRect(left, top, wide, high);
    if (across + down === "xy") {
      const [x, y] = tile(bin("z"));
      paint.drawImage(layer.image, x, y, columns, rows, left, top, wide, high);
    } else {
      for (let k = 0; k < layer.z.edges.length - 1; k++) {
        const [x, y] = tile(k);
        const [start, length] = box("z", k, k + 1);
        if (across === "x") {
          paint.drawImage(layer.image, x, y + bin("y"), columns, 1, left, start, wide, length);
        } else {
          paint.drawImage(layer.image, x + bin("x"), y, 1, rows, start, top, length, high);
        }
      }
    }
    const pixel = canvas.width / (canvas.clientWidth || canvas.width);
    for (const [colour, dash] of [["#fff", []], ["#0060a0", [6 * pixel, 6 * pixel]]]) {
      paint.strokeStyle = colour;
      paint.lineWidth = pixel;
      paint.setLineDash(dash);
      paint.beginPath();
      paint.moveTo(place(across, centre(across)), 0);
      paint.lineTo(place(across, centre(across)), canvas.height);
      paint.moveTo(0, place(down, centre(down)));
      paint.lineTo(canvas.width, place(down, centre(down)));
      paint.stroke();
    }
  }

  const sliders = [...look.querySelectorAll("input[type=range]")];
  function show() {
    for (const slider of sliders) {
      const axis = slider.name;
      slider.max = layer[axis].edges.length - 2;
      slider.value = bin(axis);
      slider.setAttribute("aria-valuetext", told(axis));
      look.querySelector(`output[name=${axis}]`).textContent = told(axis);
    }
    look.querySelector(".note").textContent = layer.note;
    look.querySelectorAll(".legend").forEach((legend, k) => { legend.hidden = layers[k] !== layer; });
    look.querySelectorAll("canvas").forEach(draw);
  }
  function move(axis, k) {
    at[axis] = middle(layer[axis].edges.slice(k));
    show();
  }

  for (const slider of sliders) {
    slider.addEventListener("input", () => move(slider.name, Number(slider.value)));
  }
  look.querySelectorAll("[type=radio]").forEach((choice, k) => {
    choice.addEventListener("change", () => { layer = layers[k]; show(); });
  });
  for (const canvas of look.querySelectorAll("canvas")) {
    canvas.addEventListener("click", ({ offsetX, offsetY }) => {
      const [across, down] = canvas.dataset.axes;
      for (const [axis, share] of [
        [across, offsetX / canvas.clientWidth], [down, offsetY / canvas.clientHeight]]) {
        at[axis] = frame[axis][0] + share * (frame[axis][1] - frame[axis][0]);
      }
      show();
    });
  }
  Promise.all(layers.map(({ image }) => image.decode())).then(() => {
    look.hidden = false;
    show();
  });
}
