cat /proc/sys/kernel/random/uuid >/id
