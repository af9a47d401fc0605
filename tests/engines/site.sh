#!/bin/sh
# A machine of its own for an engine: what it writes below /etc, /var, /run and /usr/local stays in DIR, its cgroups stay in NAME, and
# everything that it starts ends with this script, which ends when its standard input does.
#
#   site.sh join DIR NAME RUNTIME USER   makes the cgroup and the namespaces, then calls `up`
#   site.sh enter COMMAND...             runs a command inside (called through nsenter)
set -eu

# Mount points of the cgroup hierarchies that can be reached.
hierarchies() {
    awk '$5 ~ "^/sys/fs/cgroup" { for (i = 7; $i != "-"; i++); if ($(i + 1) ~ /^cgroup2?$/) print $5 }' /proc/self/mountinfo |
        while read -r point; do [ ! -e "$point/cgroup.procs" ] || echo "$point"; done
}

verb=$1
shift
case $verb in
join)
    for point in $(hierarchies); do
        mkdir "$point/$2"
        # Version 1: a new cpuset is empty, and nothing can enter it.
        [ ! -e "$point/$2/cgroup.clone_children" ] || echo 1 > "$point/$2/cgroup.clone_children"
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$point/$file" ] || [ -e "$point/cgroup.controllers" ] || cat "$point/$file" > "$point/$2/$file"
        done
        echo 0 > "$point/$2/cgroup.procs"
    done
    exec unshare --cgroup -- "$0" isolate "$@"
    ;;
isolate)
    # Version 2: only a cgroup without processes hands controllers down.
    for point in $(hierarchies); do
        mkdir "$point/$2/machine"
        echo 0 > "$point/$2/machine/cgroup.procs"
        if [ -e "$point/$2/cgroup.subtree_control" ]; then
            for controller in $(cat "$point/$2/cgroup.controllers"); do echo "+$controller" > "$point/$2/cgroup.subtree_control"; done
        fi
    done
    exec unshare --mount --pid --net --uts --ipc --fork -- catatonit -- "$0" up "$@"
    ;;
up)
    dir=$1 name=$2 runtime=$3 user=$4
    mount --make-rprivate /
    for point in $(hierarchies); do mount --bind "$point/$name" "$point"; done
    mount -t proc proc /proc
    for place in etc var usr/local; do
        mkdir -p "$dir/upper/$place" "$dir/work/$place"
        mount -t overlay -o "lowerdir=/$place,upperdir=$dir/upper/$place,workdir=$dir/work/$place" overlay "/$place"
    done
    # An overlay cannot lie on an overlay.
    for place in containers containerd docker; do
        mkdir -p "$dir/lib/$place" "/var/lib/$place"
        chmod 711 "$dir/lib/$place"
        mount --bind "$dir/lib/$place" "/var/lib/$place"
    done
    mount -t tmpfs -o mode=755 tmpfs /run
    install -d -m 1777 /run/lock
    install -d -m 700 -o "$user" -g "$user" "/run/user/$(id -u "$user")"
    ip link set lo up
    cp "$runtime" "/usr/local/bin/$(basename "$runtime")"
    for file in /etc/subuid /etc/subgid; do
        own=$(grep "^$user:" "$file")
        printf '%s\n' "$own" containers:1000000:1000000 dockremap:2000000:65536 > "$file"
    done
    # Volumes with shared propagation need it here too.
    mount --make-rshared /
    echo ready
    cat > "$dir/end"
    ;;
enter)
    for procs in /sys/fs/cgroup/machine/cgroup.procs /sys/fs/cgroup/*/machine/cgroup.procs; do
        [ ! -e "$procs" ] || echo 0 > "$procs"
    done
    exec "$@"
    ;;
esac
