#!/bin/sh
# Starts corosync and pacemaker inside a lab host; run at every boot of the host as its rc.local.
#   @DISK@ the host's folder   @AGENTS@ a folder with the lab's fence agent
exec >>"@DISK@/pacemaker.log" 2>&1
for folder in etc/corosync var/lib/corosync var/log/corosync var/lib/pacemaker var/log/pacemaker; do
  mkdir -p "@DISK@/root/$folder" "/$folder"
  mountpoint -q "/$folder" || mount --bind "@DISK@/root/$folder" "/$folder"
done
for folder in cib pengine cores blackbox; do mkdir -p /var/lib/pacemaker/$folder; done
chown -R hacluster:haclient /var/lib/pacemaker /var/log/pacemaker
chmod 750 /var/lib/pacemaker/*
mkdir -p /run/crm /run/pacemaker /run/resource-agents
chown hacluster:haclient /run/crm
chmod 750 /run/crm
# The lab's fence agent stands beside the machine's, in this host only.
mountpoint -q /usr/sbin || mount -t overlay -o "lowerdir=@AGENTS@:/usr/sbin" overlay /usr/sbin
ulimit -l unlimited
corosync
tries=0
until corosync-cfgtool -s >/dev/null || [ $tries -ge 100 ]; do tries=$((tries + 1)); sleep 0.1; done
export PCMK_logfile=/var/log/pacemaker/pacemaker.log PCMK_logfacility=none PCMK_logpriority=info
exec setsid pacemakerd </dev/null
