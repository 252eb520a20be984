# tests/kvm/machine.sh - sourced: the user space of a machine with KVM (init, regent, the engine's tests, a guest for it).
#
# machine_root DIR KERNEL: fills DIR/root, DIR/initrd.gz
# flags FILE: the line in it with what the guest's processor shows

# A program with the libraries it needs, at the same paths.
install_program() {
	install -D -s "$1" "$root/$2"
	ldd "$1" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^\t\(\/lib[^ ]*\).*/\1/p' | while read -r lib; do
		[ -e "$root/$lib" ] || install -D "$lib" "$root/$lib"
	done
}

machine_root() {
	local dir=$1 kernel=$2 ko virtio
	root=$dir/root
	mkdir -p "$root"/{bin,dev,proc,sys,tmp} "$dir/guest"/{bin,dev,proc,sys,lib}
	cp /bin/busybox "$root/bin/busybox"
	ln -sf busybox "$root/bin/sh"
	install_program "$B/regent" bin/regent
	for t in contract contract_io contract_cpu kvm; do install_program "$B/tests/engine/$t" bin/$t; done
	install -D "$(gcc -print-file-name=libgcc_s.so.1)" "$root/lib/x86_64-linux-gnu/libgcc_s.so.1"	# pthread_cancel wants it
	cp "$kernel" "$root/vmlinuz"
	cp /bin/busybox "$dir/guest/bin/"
	install -m 755 tests/kvm/guest-init "$dir/guest/init"
	if [ -n "${MACHINE_VIRTIO:-}" ]; then
		install_program "$B/regent-net" bin/regent-net
		virtio=$(tools/guest-kernel virtio) && find "$(dirname "$virtio")/lib" -name '*.ko' -path '*/kernel/*' \
			\( -name 'virtio*' -o -name '*failover*' -o -name rng-core.ko \) -exec cp {} "$dir/guest/lib/" \;
	fi
	(cd "$dir/guest" && find . | cpio -o -H newc -R 0:0 --quiet) | gzip -1 >"$root/guest"
	for ko in kvm kvm-amd kvm-intel irqbypass ccp; do
		find "$(dirname "$kernel")/lib" -name "$ko.ko" -exec cp {} "$root/" \;
	done
	# mov eax,0xd0000000; jmp eax: there is nothing, and KVM gives up
	python3 -c "import sys; sys.path.insert(0, 'tests/boot'); import guests
open(sys.argv[1], 'wb').write(guests.multiboot(b'\xb8\0\0\0\xd0\xff\xe0'))" "$root/nowhere"
	install -m 755 tests/kvm/init "$root/init"
	(cd "$root" && find . | cpio -o -H newc -R 0:0 --quiet) | gzip -1 >"$dir/initrd.gz"
}

flags() { tr -d '\r' <"$1" | grep -a 'GUEST FLAGS' | head -n 1; }
