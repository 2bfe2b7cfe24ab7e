source /w/env wayin; cd /tmp/wayin
/w/bin/box sh wayin-t 'dpkg -i /root/wayin.deb 2>&1 | tail -1; pitool apply --help | grep -c cut-login'
sed -i '/^one well/d' all.sh
V=1 bash all.sh 10.91.101.2
echo finished
