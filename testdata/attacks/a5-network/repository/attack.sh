try() {
	echo "try run $1: $(printf 'GET / HTTP/1.0\r\n\r\n' | timeout 3 nc -w 2 "$2" "$3" 2>&1 | tr '\r\n' '  ')"
}
device=$(ip route | sed -n 's/^default .* dev \([^ ]*\).*/\1/p')
gateway=$(ip route | sed -n 's/^default via \([0-9.]*\).*/\1/p')
for address in {{HOST}} {{BRIDGED}}; do
	try "machine $address" "$address" {{HOST_PORT}} &
done
try "machine gateway" "$gateway" {{HOST_PORT}} &
for address in 168.63.129.16 100.100.100.200 192.0.0.192; do
	try "metadata $address" "$address" 80 &
done
echo "try run raw socket: $(arping -q -c 1 -w 1 -I "$device" "$gateway" 2>&1 && echo '{{CANARY}}')"
wait
