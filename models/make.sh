# Makes the models that ship, from nothing: simulates what they learn from and are judged by, trains
# them, and copies them into the package. An interrupted run goes on where it was.
# MINUTES=… are those of each training, instead of its recipe's. Some begin with what another made,
# under the same name.
set -e
cd "$(dirname "$0")"
for recipe in gold-*.toml other-*.toml; do
    echo "simulating $recipe"
    fibdask simulate "$recipe" --quiet
done
for recipe in windows.toml windows-2.toml windows-3.toml windows-4.toml windows-5.toml porous.toml phases.toml simulation.toml layers.toml; do
    echo "training $recipe"
    fibdask train "$recipe" ${MINUTES:+--minutes "$MINUTES"}
    made="${recipe%.toml}-model"
    name=$(sed -n 's/^ "name": "\(.*\)",$/\1/p' "$made/card.json")
    mkdir -p "../fibdask/learn/models/$name"
    for file in weights.safetensors test_pair.safetensors card.json; do
        install -m 644 "$made/$file" "../fibdask/learn/models/$name/$file"
    done
done
echo "simulating films"
python -c 'import fibdask
fibdask.simulate_films("films.npz", layers=[("Al", 200), ("Au", 20)], substrate="Si")'
install -m 644 films.npz ../fibdask/microtomography/data/aluminium_gold_silicon.npz
fibdask models
