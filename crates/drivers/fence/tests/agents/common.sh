# What the fake agents share: options from stdin, a power state per plug in a file of $dir (on unless it says off),
# and the order of the calls in $dir/calls. An agent replaces the functions in which it misbehaves, then calls `main`.
while IFS='=' read -r key value; do
    case $key in
    action) action=$value ;;
    plug) plug=$value ;;
    dir) dir=$value ;;
    password) password=$value ;;
    esac
done
state=$dir/${plug:-host}

metadata() {
    cat <<XML
<?xml version="1.0" ?>
<resource-agent name="$(basename "$0")" shortdesc="Fake agent & test" >
<parameters>
  <parameter name="dir" required="1"><content type="string" /></parameter>
  <parameter name="plug" required="0" obsoletes="port"><content type="string" /></parameter>
  <parameter name="port" required="0" deprecated="1"><content type="string" /></parameter>
  <parameter name="password" required="0"><content type="string" /></parameter>
  <parameter name="lanplus" required="0"><content type="boolean" default="0" /></parameter>
  <parameter name="delay" required="0"><content type="second" default="0" /></parameter>
  <parameter name="login_timeout" required="0"><content type="second" default="5" /></parameter>
  <parameter name="power_timeout" required="0"><content type="second" default="20" /></parameter>
  <parameter name="power_wait" required="0"><content type="second" default="0" /></parameter>
  <parameter name="retry_on" required="0"><content type="integer" default="1" /></parameter>
  <parameter name="missing_as_off" required="0"><content type="boolean" /></parameter>
  <parameter name="method" required="0"><content type="select" default="onoff"><option value="onoff"/><option value="cycle"/></content></parameter>
</parameters>
<actions><action name="on" /><action name="off" /><action name="status" /><action name="list" /><action name="monitor" /></actions>
</resource-agent>
XML
}
power() { cat "$state" 2>/dev/null || echo on; }
status() { if [ "$(power)" = off ]; then echo "Status: OFF"; exit 2; fi; echo "Status: ON"; }
off() { echo off >"$state"; }
on() { echo on >"$state"; }
monitor() { :; }
list() { printf '1,web\n2,db, second\n'; }
main() {
    if [ "$action" != metadata ]; then echo "$action" >>"$dir/calls"; fi
    "$action"
}
