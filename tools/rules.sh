#!/usr/bin/env bash
# Removes what CNI's plugins made for one network in the nat table: the rules that name it in their
# comments, with the chains that they lead to. (The chains CNI-HOSTPORT-* are shared with other users of CNI.)
# Usage: tools/rules.sh NETWORK
set -uo pipefail
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
network=${1:?usage: tools/rules.sh NETWORK}
iptables-save -t nat 2>/dev/null | awk -v mark="name: \\\\\"$network\\\\\"" '
    $1 == "-A" && index($0, mark) && $NF ~ /^CNI-/ && $2 != $NF {
        sub(/^-A/, "-D"); jumps = jumps $0 "\n"; chains[$NF]
    }
    END {
        if (jumps == "") exit
        printf "*nat\n%s", jumps
        for (chain in chains) printf "-F %s\n", chain
        for (chain in chains) printf "-X %s\n", chain
        print "COMMIT"
    }' | iptables-restore --noflush -w 5
