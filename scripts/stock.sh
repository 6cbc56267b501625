# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154,SC2317
# The parts of scripts/build that are different with KERNEL=stock; sourced by it.
#
# Debian's kernel is fetched as it is, with the headers that it is offered with,
# and unpacked to $out, not installed. ums.ko is built as the package ums-dkms has
# it built: from the same files, by the same line of dkms.conf. The selftests want a
# few files of the kernel's source.

flavour=${STOCK:-cloud-amd64}
root=$out/root		# the packages' files
dkms=$out/dkms		# what ums-dkms brings
# Files of the kernel's source: what the selftests want, and a number to be checked.
members=(scripts/subarch.include kernel/sched/sched.h)
members+=(tools/testing/selftests/{Makefile,lib.mk,run_kselftest.sh,kselftest,kselftest.h,kselftest_harness.h})

# ---- Debian's kernel -------------------------------------------------------

has_candidates() {
	local name
	for name; do
		"$stock_apt" apt-cache policy "$name" | grep '^  Candidate: [0-9]' >/dev/null ||
			return 1
	done
}

machine_apt() {
	"$@"
}

backports_apt() {
	private_apt apt-stock "$@"
}

# The newest one from 6.12 on, of this flavour alone, that has its headers, too.
newest_release() {
	local release
	"$stock_apt" apt-cache pkgnames linux-image- |
		sed -n "s/^linux-image-\([0-9].*\)-$flavour\$/\1/p" |
		grep -Ev -- '-(cloud|rt)$' | sort -rV >"$out/releases" || true
	while IFS= read -r release; do
		[ "$(printf '%s\n' 6.12 "$release" | sort -V | first_line)" = 6.12 ] || return 1
		if has_candidates "linux-image-$release-$flavour" "linux-headers-$release-$flavour"; then
			echo "$release-$flavour"
			return
		fi
	done <"$out/releases"
	return 1
}

update_machine_apt() {
	as_root apt-get update
}

# Sets stock_apt and release: what the machine's apt has, or else what its suite's
# backports have.
find_stock() {
	local codename
	stock_apt=machine_apt
	release=$(newest_release) && return
	# Ask for a password, if need be, before the output goes to a log.
	as_root true
	step "build $target: update the lists of packages" "build-$target-update" \
		update_machine_apt
	release=$(newest_release) && return
	read -r _ codename <<<"$(machine_mirror)"
	stock_apt=backports_apt
	step "build $target: look into $codename-backports" "build-$target-backports" \
		update_private_apt apt-stock "$(dpkg --print-architecture)" "$codename-backports"
	release=$(newest_release) ||
		die "there is no linux-image-...-$flavour from 6.12 on with its headers," \
			"neither in this machine's apt sources nor in $codename-backports"
}

# What the headers of a flavour lie in, beside their own package.
headers_packages() {
	echo "linux-headers-$release"
	"$stock_apt" apt-cache show --no-all-versions "linux-headers-$release" |
		sed -n 's/^Depends: //p' | first_line |
		grep -oE 'linux-(headers-[^ ,]*-common[^ ,]*|kbuild-[^ ,]*)'
}

# Its makefiles and links name each other by where they would be installed.
relocate_headers() {
	local dir=$root/usr/src/linux-headers-$release file to
	sed -i "s,/usr/src/,$root/usr/src/,g" "$dir/Makefile"
	find "$root/usr/src" "$root/usr/lib" -type l | while IFS= read -r file; do
		to=$(readlink "$file")
		case $to in
		/*) ln -sfn "$root$to" "$file" ;;
		esac
	done
}

fetch_stock() {
	local file
	local -a names
	rm -rf "$root" "$out/debs"
	mkdir -p "$root" "$out/debs"
	mapfile -t names < <(headers_packages)
	[ ${#names[@]} -ge 3 ] || die "cannot tell what linux-headers-$release lies in"
	(cd "$out/debs" && "$stock_apt" apt-get download "linux-image-$release" "${names[@]}")
	for file in "$out"/debs/*.deb; do
		dpkg-deb -x "$file" "$root"
	done
	rm -rf "$out/debs"
	relocate_headers
	mkdir -p "$(dirname "$image")"
	cp "$root/boot/vmlinuz-$release" "$image"
	echo "$release" >"$out/release"
}

# Files of the driver, of libums and of the selftests, where they are in the kernel
# tree, and what these need of it.
stock_tree() {
	local version
	find_stock
	version=$(grep -oE '^[0-9]+\.[0-9]+' <<<"$release")
	if [ "$(cat "$ksrc/.members" 2>/dev/null)" != "$version ${members[*]}" ]; then
		rm -rf "$ksrc"
		KERNEL=$version "$scripts/kernel" --members "$ksrc" "${members[@]}"
		echo "$version ${members[*]}" >"$ksrc/.members"
	fi
	stage_sources "$ksrc"
	mkdir -p "$ksrc/dkms"
	cp "$scripts"/package.d/dkms/* "$ksrc/dkms/"
	flag_is_known || die "scripts/package.d/dkms/compat.h has another value than" \
		"Linux $version for WF_CURRENT_CPU"
}

# The headers do not have it.
flag_is_known() {
	local name value
	read -r _ name value _ < <(grep '^#define WF_CURRENT_CPU' "$ksrc/kernel/sched/sched.h")
	grep -q "^#define UMS_${name}[[:space:]]*${value}\$" "$ksrc/dkms/compat.h"
}

# ---- in place of what scripts/build has ------------------------------------

# The tree is no repository.
tree_state() {
	local path
	for path; do
		case $path in
		:*) ;;
		*) (cd "$ksrc" && find "$path" -type f ! -name '.*' -exec sha256sum {} +) ;;
		esac
	done | sort
}

# As dkms does it.
build_module() {
	local version command
	local -a MAKE=()
	version=$(ums_version)
	rm -rf "$dkms"
	make -C "$ksrc/dkms" install VERSION="$version" DESTDIR="$dkms"
	# shellcheck disable=SC2034  # for dkms.conf
	local kernel_source_dir=$root/usr/src/linux-headers-$release dkms_tree=$dkms
	mkdir -p "$dkms/ums/$version"
	cp -R "$dkms/usr/src/ums-$version" "$dkms/ums/$version/build"
	cd "$dkms/ums/$version/build" || return
	# shellcheck disable=SC1091  # made by the Makefile
	. ./dkms.conf
	command=${MAKE[0]/#make/nice make -j$jobs KERNELRELEASE=$release}
	echo "$command"
	eval "$command"
}

pack_stock_module() {
	local dir=$out/ums-root
	rm -rf "$dir"
	mkdir -p "$dir/lib/modules"
	objcopy --strip-debug "$dkms/ums/$(ums_version)/build/drivers/misc/ums/ums.ko" \
		"$dir/lib/modules/ums.ko"
	pack "$dir" "$out/ums-modules.cpio"
}

build_kernel() {
	local key
	if ! up_to_date "$out/release" "$release" "$image" "$root/usr/src/linux-headers-$release"; then
		step "build $target: fetch ${release}" "build-$target-fetch" fetch_stock
		rm -f "$out/ums-key"
	fi
	key=$( { tree_state drivers include dkms; cat "$scripts/stock.sh"; } | part_key)
	if up_to_date "$out/ums-key" "$key" "$out/ums-modules.cpio"; then
		return
	fi
	step "build $target: the module" "build-$target" build_module
	pack_stock_module
	echo "$key" >"$out/ums-key"
}

# The system's own do, with ums.h from the tree.
build_headers() {
	mkdir -p "$user_out/usr/include"
}
