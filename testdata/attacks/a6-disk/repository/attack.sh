echo "try $1 $2: $(fallocate -l 2147483648 "$3" 2>&1 && echo '{{CANARY}}')"
rm -f "$3"
