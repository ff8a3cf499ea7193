#!/usr/bin/env bash
# A SLURM cluster of one node on this machine, for tests and for trying things out.
#
#   deploy/slurm/test-cluster.sh          installs slurm-wlm (Debian, Ubuntu; as root), starts it
#   deploy/slurm/test-cluster.sh stop     ends its daemons and removes what it has written
#
# It never touches a SLURM that is not its own. Exit code 3: it cannot be had here, and why.
set -euo pipefail

conf=/etc/slurm/slurm.conf
mark="# written by test-cluster.sh of fibdask"
state=/var/lib/fibdask-slurm
profile="${XDG_CONFIG_HOME:-$HOME/.config}/fibdask/slurm.toml"
host=$(hostname -s)

cannot() {
  echo "test-cluster: $*" >&2
  exit 3
}

is_own() { grep -qsF "$mark" "$1"; }

# The process that a daemon's file names, if that is still the daemon.
running() {
  local pid
  pid=$(cat "$state/$1.pid" 2>/dev/null) || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] && echo "$pid"
}

end() {
  local pid
  pid=$(running "$1") || return 0
  kill "$pid"
  for _ in $(seq 100); do
    [ -d "/proc/$pid" ] || return 0
    sleep 0.1
  done
  kill -KILL "$pid"
}

stop() {
  is_own "$conf" || return 0
  timeout 10 scancel --user="$(id -un)" 2>/dev/null || true
  for daemon in slurmd slurmctld munged; do end "$daemon"; done
  rm -rf "$state" "$conf"
  if is_own "$profile"; then rm -f "$profile"; fi
}

have() { command -v "$1" >/dev/null; }

install() {
  [ "$(id -u)" = 0 ] || cannot "only root can start the daemons of SLURM"
  if have slurmctld && have slurmd && have munged; then return; fi
  have apt-get || cannot "slurm-wlm would be installed by apt-get, which is not here"
  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends slurm-wlm munge) >/dev/null 2>&1 ||
    cannot "apt-get could not install slurm-wlm"
}

write_conf() {
  local told cpus memory
  told=$(slurmd -C | head -n 1)
  cpus=$(sed -E 's/.* (CPUs=.*) RealMemory.*/\1/' <<<"$told")
  memory=$(sed -E 's/.* RealMemory=([0-9]+).*/\1/' <<<"$told")
  mkdir -p "$(dirname "$conf")" "$state/slurmctld" "$state/slurmd"
  cat >"$conf" <<CONF
$mark
ClusterName=fibdask
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthInfo=socket=$state/munge/socket
StateSaveLocation=$state/slurmctld
SlurmdSpoolDir=$state/slurmd
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,sched_min_interval=0,batch_sched_delay=0
ReturnToService=2
JobRequeue=0
KillWait=2
NodeName=$host NodeAddr=127.0.0.1 $cpus RealMemory=$((memory * 9 / 10)) State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
}

# What `--cluster slurm` takes where the user has no profile yet.
write_profile() {
  [ -e "$profile" ] && return
  mkdir -p "$(dirname "$profile")"
  cat >"$profile" <<PROFILE
$mark
partition = "test"
interface = "lo"
jobs = 2
cores = 1
memory = "2 GiB"
walltime = "01:00:00"
PROFILE
}

start_munged() {
  local key=/etc/munge/munge.key
  [ -f "$key" ] || (umask 077 && head -c 128 /dev/urandom >"$key")
  chown munge: "$key"
  mkdir -p "$state/munge"
  chown munge: "$state/munge"
  runuser -u munge -- munged --key-file="$key" --socket="$state/munge/socket" \
    --pid-file="$state/munge/pid" --log-file="$state/munge/log" --seed-file="$state/munge/seed"
  ln -sf munge/pid "$state/munged.pid"
}

start() {
  install
  if [ -e "$conf" ] && ! is_own "$conf"; then
    cannot "$conf is that of a cluster, which is left alone"
  fi
  [ -e "$conf" ] || write_conf
  write_profile
  running munged >/dev/null || start_munged
  running slurmctld >/dev/null || slurmctld
  running slurmd >/dev/null || slurmd
  for _ in $(seq 100); do
    case "$(timeout 5 sinfo --noheader --format=%t 2>/dev/null)" in
      idle | alloc | mix)
        echo "test-cluster: SLURM runs here: partition test, node $host"
        return
        ;;
      down*) scontrol update nodename="$host" state=resume reason=started || true ;;
    esac
    sleep 0.3
  done
  tail -n 5 "$state"/*.log >&2
  cannot "the node did not come up; see above"
}

case "${1:-start}" in
  start) start ;;
  stop) stop ;;
  *)
    echo "usage: $0 [start|stop]" >&2
    exit 2
    ;;
esac
