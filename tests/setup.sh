#!/bin/sh
# Sets up what a part of the Makefile needs and the system lacks: tests/setup.sh build|test|full|bench
# Asks apt-get, as root or through a sudo that wants no password; where neither can be had, or
# under SETUP=no, it says in one line which command to run. Without anything missing it does nothing.
set -u
group=${1:?which group: build, test, full or bench}
: "${CC:=cc}"

compiles() { # can $1 compile and link a program, with the flags in $2?
    echo 'int main(void) { return 0; }' >"$probe.c" && $1 ${2:-} -o "$probe" -x "${3:-c}" "$probe.c"
}

compiles_both() {
    compiles clang && compiles clang++ "" c++
}

loads() { # can one of these libraries be preloaded? The dynamic linker says so when it cannot.
    for library in "$@"; do
        [ -n "$(LD_PRELOAD=$library env true 2>&1)" ] || return 0
    done
    return 1
}

has() { # has PACKAGES COMMAND...: the packages are missing unless the command succeeds
    packages=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $packages"
}

look() { # sets $missing
    missing=
    case ${CC%% *} in
    cc | gcc) has "gcc libc6-dev" compiles "$CC" ;;
    *) has "${CC%% *}" compiles "$CC" ;;
    esac
    has pkg-config command -v pkg-config
    has libssl-dev pkg-config --exists 'openssl >= 3.0'
    [ "$group" = build ] && return
    if [ "$group" = bench ]; then # the peers that ours is measured against
        has libevent-dev pkg-config --exists libevent_core
        has libapr1-dev pkg-config --exists apr-1
        has libjemalloc2 loads libjemalloc.so.2
        # by its -dev package, for the library's own has a version in its name
        has libmimalloc-dev loads libmimalloc.so.2 libmimalloc.so.3
        has libtcmalloc-minimal4 loads libtcmalloc_minimal.so.4
        # what runs on each of these
        has python3 command -v python3
        has sqlite3 command -v sqlite3
        has redis-tools command -v redis-benchmark
        return
    fi
    has gcc command -v gcc
    has g++ compiles g++ "" c++
    has clang compiles_both
    has python3 command -v python3
    has curl command -v curl
    has openssl command -v openssl
    has perl command -v perl
    has git command -v git
    has xz-utils command -v xz
    [ "$group" = test ] && return
    has libclang-rt-dev compiles clang -fsanitize=thread
    has valgrind test -x /usr/bin/valgrind -a -f /usr/include/valgrind/memcheck.h
    has chromium command -v chromium
    has gcc-mingw-w64-x86-64 compiles x86_64-w64-mingw32-gcc
    has g++-mingw-w64-x86-64 compiles x86_64-w64-mingw32-g++ "" c++
    has "wine wine64" command -v wine
    has testssl.sh command -v testssl
    has prometheus command -v promtool
    has slowhttptest command -v slowhttptest
    has cmake command -v cmake
    has groff-base command -v groff
    # what runs on our heap in the place of malloc
    has sqlite3 command -v sqlite3
    has nodejs command -v node
    has redis-tools command -v redis-benchmark
    has nginx test -x /usr/sbin/nginx
    has stress-ng command -v stress-ng
}

install() { # install PACKAGE...: quiet, but with all that apt-get said when it fails
    apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300"
    for attempt in as-is after-update; do
        [ $attempt = as-is ] || $apt update >>"$probe.log" 2>&1
        $apt install -y --no-install-recommends "$@" >>"$probe.log" 2>&1 && return
    done
    cat "$probe.log" >&2
    return 1
}

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
probe=$scratch/probe
look
[ -n "$missing" ] || exit 0

as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
command="apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null; then
    echo "missing, as Debian names them:$missing; please install them and try again" >&2
    exit 1
elif [ "${SETUP:-yes}" = no ] || ! $as_root true 2>/dev/null; then
    echo "missing:$missing; please run: sudo apt-get update && sudo $command" >&2
    exit 1
fi
echo "setting up:$missing"
install $missing || exit 1
look
[ -z "$missing" ] || { echo "still missing after $command:$missing" >&2; exit 1; }
