#!/bin/sh
# Kills `pitool cert renew --force` at the n-th call of each system call that moves it on, for every n, and looks each
# time whether nginx could start and serves a certificate with its own key. The last line is the number of kills.
#
#   cuts.sh SYSCALL…
set -u
live=/var/lib/pitool-acme/certificates/pi.test/current
kills=0
fail() {
    echo "after kill $n at $call: $*"
    exit 1
}
for call in "$@"; do
    n=0
    while :; do
        n=$((n + 1))
        strace -f -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=SIGKILL:when=$n" \
            pitool cert renew --force >/tmp/renew.log 2>&1 </dev/null
        status=$?
        # 137 is a kill; anything else means that there was no n-th call.
        [ $status -eq 137 ] || break
        kills=$((kills + 1))
        nginx -t -q 2>/tmp/nginx.log || fail "nginx would not start: $(cat /tmp/nginx.log)"
        [ "$(openssl x509 -in $live/fullchain.pem -noout -pubkey)" = "$(openssl pkey -in $live/privkey.pem -pubout)" ] ||
            fail "the stored certificate and key do not belong together"
        if [ $((kills % 10)) -eq 0 ]; then
            systemctl reset-failed nginx
            systemctl restart nginx || fail "nginx did not start"
        fi
        code=$(curl -s -o /dev/null -w '%{http_code}' --max-time 5 --cacert /srv/ca/root.pem https://pi.test/health)
        [ "$code" = 200 ] || fail "the site answers $code"
    done
    [ $status -eq 0 ] || fail "without a kill it ends with $status: $(cat /tmp/renew.log)"
done
pitool cert renew >/dev/null 2>&1 || { n=0 call=none; fail "it does not converge"; }
echo $kills
