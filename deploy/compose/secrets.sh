#!/usr/bin/env bash
# Generate what must not be guessed: passwords, a token, a certificate authority and the broker's certificate.
#
#   deploy/compose/secrets.sh [NAME]...    names and addresses that devices reach the broker under
#
# Everything goes into ./secrets beside this script, readable by its owner alone. What is there is kept: run it again
# to add what is missing, or with other names after deleting secrets/mosquitto/certs/server.*.

set -euo pipefail
umask 077
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=${UNDERCITY_SECRETS:-$PWD/secrets}
certs=$folder/mosquitto/certs

command -v openssl >/dev/null || { echo "secrets: expected openssl, found none; apt-get install openssl" >&2; exit 1; }
mkdir -p "$certs"

# One folder a service, since each container runs as a user of its own. A second name is a copy of the first.
# 256 random bits as text, without characters that shells or URLs treat specially.
random_secret() {
  local copy
  if [[ ! -s $folder/$1 ]]; then
    mkdir -p "$(dirname "$folder/$1")"
    openssl rand -hex 32 >"$folder/$1"
    echo "secrets: $1 generated"
  fi
  for copy in "${@:2}"; do
    mkdir -p "$(dirname "$folder/$copy")"
    cmp -s "$folder/$1" "$folder/$copy" || cp "$folder/$1" "$folder/$copy"
  done
}
random_secret undercity/mqtt_password
random_secret operator/mqtt_command_password
random_secret operator/mqtt_monitor_password
random_secret influxdb/admin_password
random_secret influxdb/token undercity/influx_token grafana/influx_token
random_secret postgres/password undercity/postgres_password
random_secret grafana/admin_password

# The broker's settings as they are in production, but for the folder that its image keeps sessions in.
sed 's#^persistence_location .*#persistence_location /mosquitto/data/#' ../mosquitto/mosquitto.conf \
  >"$folder/mosquitto/mosquitto.conf"

# Mosquitto's own format: PBKDF2-SHA512, 101 rounds, 12 bytes of salt. The secret never stands on a command line.
mosquitto_hash() {
  python3 - "$1" <<'PYTHON'
import base64, hashlib, pathlib, secrets, sys
salt = secrets.token_bytes(12)
word = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").strip().encode()
key = hashlib.pbkdf2_hmac("sha512", word, salt, 101)
print("$7$101$" + base64.b64encode(salt).decode() + "$" + base64.b64encode(key).decode())
PYTHON
}
passwords=$folder/mosquitto/passwords
touch "$passwords"
for pair in undercity-ingest:undercity/mqtt_password undercity-command:operator/mqtt_command_password \
  undercity-monitor:operator/mqtt_monitor_password; do
  if ! grep -q "^${pair%%:*}:" "$passwords"; then
    echo "${pair%%:*}:$(mosquitto_hash "$folder/${pair##*:}")" >>"$passwords"
    echo "secrets: broker account ${pair%%:*} added"
  fi
done

if [[ ! -s $certs/ca.crt ]]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -sha256 \
    -subj "/CN=Undercity CA" -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout "$folder/operator/ca.key" -out "$certs/ca.crt" 2>/dev/null
  cp "$certs/ca.crt" "$folder/undercity/ca.crt"
  echo "secrets: certificate authority generated; keep secrets/operator off the server"
fi
if [[ ! -s $certs/server.crt ]]; then
  alternatives="DNS:localhost,DNS:mosquitto,IP:127.0.0.1"
  for name in "$@"; do
    [[ $name =~ ^[0-9.]+$|: ]] && alternatives+=",IP:$name" || alternatives+=",DNS:$name"
  done
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=${1:-mosquitto}" \
    -keyout "$certs/server.key" -out "$certs/server.csr" 2>/dev/null
  openssl x509 -req -in "$certs/server.csr" -CA "$certs/ca.crt" -CAkey "$folder/operator/ca.key" -CAcreateserial \
    -days 825 -sha256 -out "$certs/server.crt" -extfile <(
      echo "subjectAltName=$alternatives"
      echo "extendedKeyUsage=serverAuth"
      echo "basicConstraints=critical,CA:FALSE"
    ) 2>/dev/null
  rm -f "$certs/server.csr" "$certs/ca.srl"
  echo "secrets: broker certificate generated for $alternatives"
fi

# Each image's own user; the files stay 0600, so nobody else can read them.
if [[ $EUID -eq 0 ]]; then
  chmod 711 "$folder"
  for pair in undercity:10401 mosquitto:1883 influxdb:1000 postgres:999 grafana:472; do
    chown -R "${pair##*:}:${pair##*:}" "$folder/${pair%%:*}"
  done
else
  echo "secrets: run this as root once, so that each container can read its own files and no others" >&2
fi
echo "secrets: all in $folder"
