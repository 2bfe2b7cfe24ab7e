#!/bin/sh
# A hook for DNS-01 as lego calls it, for pebble-challtestsrv: dns-hook.sh present|cleanup FQDN VALUE
set -eu
echo "$1 $2 $CERTBOT_DOMAIN" >>/var/lib/dns-hook.log
case $1 in
present) curl -s --fail -d "{\"host\":\"$2\",\"value\":\"$3\"}" http://127.0.0.1:8055/set-txt ;;
cleanup) curl -s --fail -d "{\"host\":\"$2\"}" http://127.0.0.1:8055/clear-txt ;;
esac
