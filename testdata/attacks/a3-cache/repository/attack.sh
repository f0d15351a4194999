echo "try run cache mount: $(cat /root/.npm/value)"
echo "try run layer: $(grep -q '{{LAYER}}' /id && echo '{{CANARY}}')"
echo '{{CANARY}}-poison' >/root/.npm/poison
