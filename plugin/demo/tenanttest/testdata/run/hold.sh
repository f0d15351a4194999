echo '{{CANARY}}-cache' >/cache/value
mkdir /www
echo '{{CANARY}}-service' >/www/index.html
httpd -p 7777 -h /www
echo "address $(ip -4 -o address | sed -n 's/.*inet \([0-9.]*\).*/\1/p' | tr '\n' ' ')"
echo held
sleep 300
