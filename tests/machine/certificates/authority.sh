#!/bin/sh
# A certificate authority within a box: Debian's pebble with a key of its own, and pebble-challtestsrv as the name server.
#
#   authority.sh ADDRESS     every name leads to ADDRESS; the directory is https://localhost:14000/dir
#
# PEBBLE_* of the environment are pebble's knobs; EAB=1 wants an external account, STRICT= leaves -strict out,
# VALIDITY is a certificate's life in seconds, STAGING=1 starts a second one at port 14001.
set -eu
address=$1
ca=/srv/ca
mkdir -p $ca
cd $ca

if ! command -v pebble >/dev/null || ! command -v pebble-challtestsrv >/dev/null; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends pebble openssl ca-certificates >/dev/null 2>&1
fi

# What apt needs stays reachable when every name leads here.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -o 'https\?://[^/: ]*' | sed 's,.*//,,' | sort -u)
for name in $mirror; do
    if ! grep -q " $name$" /etc/hosts; then
        found=$(getent ahostsv4 "$name" | awk 'NR == 1 { print $1 }')
        [ -z "$found" ] || echo "$found $name" >>/etc/hosts
    fi
done

if [ ! -e ca.pem ]; then
    openssl req -quiet -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=test authority" -keyout ca.key -out ca.pem 2>/dev/null ||
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=test authority" -keyout ca.key -out ca.pem 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" -keyout localhost.key -out localhost.csr 2>/dev/null
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' >localhost.ext
    openssl x509 -req -in localhost.csr -CA ca.pem -CAkey ca.key -days 3650 -extfile localhost.ext -out localhost.pem 2>/dev/null
fi

config() {
    cat <<JSON
{ "pebble": {
    "listenAddress": "127.0.0.1:$1", "managementListenAddress": "127.0.0.1:$2",
    "certificate": "$ca/localhost.pem", "privateKey": "$ca/localhost.key",
    "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
    "externalAccountBindingRequired": $3,
    "externalAccountMACKeys": { "kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W" },
    "certificateValidityPeriod": ${VALIDITY:-7776000}
} }
JSON
}
eab=false
[ -z "${EAB:-}" ] || eab=true
config 14000 15000 $eab >pebble.json
config 14001 15001 false >staging.json

for unit in pebble pebble-staging challtestsrv; do
    systemctl stop $unit.service 2>/dev/null || true
    systemctl reset-failed $unit.service 2>/dev/null || true
done
# bookworm's does not know DNS over HTTPS.
set -- -defaultIPv4 "$address" -defaultIPv6 "" -dns01 127.0.0.1:53 -http01 "" -https01 "" -tlsalpn01 "" -management 127.0.0.1:8055
if pebble-challtestsrv -h 2>&1 | grep -q -- -doh; then
    set -- "$@" -doh ""
fi
systemd-run --quiet --collect --unit=challtestsrv pebble-challtestsrv "$@"
pebble() {
    systemd-run --quiet --collect --unit="$1" \
        --setenv=PEBBLE_VA_NOSLEEP="${PEBBLE_VA_NOSLEEP:-1}" \
        --setenv=PEBBLE_WFE_NONCEREJECT="${PEBBLE_WFE_NONCEREJECT:-0}" \
        --setenv=PEBBLE_AUTHZREUSE="${PEBBLE_AUTHZREUSE:-0}" \
        pebble -config "$ca/$2" ${STRICT--strict} -dnsserver 127.0.0.1:53
}
pebble pebble pebble.json
[ -z "${STAGING:-}" ] || pebble pebble-staging staging.json
rm -f /etc/resolv.conf
echo "nameserver 127.0.0.1" >/etc/resolv.conf
# Each makes its own keys first, which takes one of them longer than the other.
answers() {
    for try in $(seq 100); do
        curl -s --fail --cacert ca.pem "https://localhost:$1/dir" >/dev/null && return
        sleep 0.1
    done
    echo "authority.sh: nobody answers at port $1" >&2
    exit 1
}
answers 14000
[ -z "${STAGING:-}" ] || answers 14001
curl -s --fail --cacert ca.pem https://localhost:15000/roots/0 >root.pem
