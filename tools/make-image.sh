#!/usr/bin/env bash
# Makes a small OCI image of the static busybox, without a registry and without a network.
# Usage: tools/make-image.sh DIR [TAG]        then: "image": "oci:DIR:TAG"
# Deterministic: the same busybox gives the same digests, whoever makes it and when. Written by
# hand (a layout is four JSON files and two blobs), because umoci stamps the time into an image.
set -euo pipefail

dir=${1:?usage: tools/make-image.sh DIR [TAG]}
tag=${2:-latest}
busybox=$(command -v busybox) || {
    echo "make-image: no busybox; mend: make setup" >&2
    exit 1
}
case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) arch=$(uname -m) ;;
esac

# A complete image of this very busybox is left alone: a container may lie on it.
stamp="$(sha256sum <"$busybox" | cut -d' ' -f1) $tag $(sha256sum <"$0" | cut -d' ' -f1)"
if [ "$(cat "$dir/.made-of" 2>/dev/null)" = "$stamp" ]; then exit 0; fi

# Named so that tools/sweep.sh knows what a killed run of this left.
work=$(mktemp -d "${TMPDIR:-/tmp}/riklet-test-$$-image-XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root layout=$work/layout blobs=$work/layout/blobs/sha256
mkdir -p "$root"/{bin,etc,tmp,www,root,proc,sys,dev} "$blobs"
chmod 1777 "$root/tmp"
cp "$busybox" "$root/bin/busybox"
chmod 755 "$root/bin/busybox"
"$busybox" --list | grep -vx busybox | while read -r applet; do
    ln -s busybox "$root/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf 'It works.\n' >"$root/www/index.html"

# Moves a file in as a blob and prints its digest's hex digits.
blob() {
    local hex
    hex=$(sha256sum <"$1" | cut -d' ' -f1)
    mv "$1" "$blobs/$hex"
    printf '%s' "$hex"
}
size() { stat -c %s "$blobs/$1"; }

tar --create --file "$work/layer.tar" --directory "$root" --format=gnu --sort=name \
    --mtime=@0 --owner=0 --group=0 --numeric-owner .
diff_id=$(sha256sum <"$work/layer.tar" | cut -d' ' -f1)
gzip -9n "$work/layer.tar"
layer=$(blob "$work/layer.tar.gz")

printf '{"created":"1970-01-01T00:00:00Z","architecture":"%s","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["/bin/sh"],"WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"tools/make-image.sh"}]}' \
    "$arch" "$diff_id" >"$work/config"
config=$(blob "$work/config")

media=application/vnd.oci.image
printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":{"mediaType":"%s.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"%s.layer.v1.tar+gzip","digest":"sha256:%s","size":%s}]}' \
    "$media" "$media" "$config" "$(size "$config")" "$media" "$layer" "$(size "$layer")" >"$work/manifest"
manifest=$(blob "$work/manifest")

printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}' \
    "$media" "$manifest" "$(size "$manifest")" "$tag" >"$layout/index.json"
printf '%s' "$stamp" >"$layout/.made-of"

# Into place in one step: a partial image is never an image.
mkdir -p "$(dirname "$dir")"
rm -rf "$dir.new"
cp -r "$layout" "$dir.new"
rm -rf "$dir"
mv "$dir.new" "$dir"
echo "made the image oci:$dir:$tag (sha256:${manifest:0:12}, $(du -sk "$dir" | cut -f1) KiB)"
