"""Walks a Dockerfile's own steps in chroots, so that an image can be tried on a machine without a Docker engine.

In: a Dockerfile, its context, a Debian root file system for `FROM debian:*` (debootstrap makes one). Out: `WORK/image`,
the last stage's root file system, and `WORK/image.json` with what the image would carry (user, environment, commands).
Understood is what this project's Dockerfiles use; any other instruction or flag is an error, never skipped in silence.
`FROM node:*` is the same Debian with this machine's Node.js copied in. Needs root and util-linux.
"""

import argparse
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
BUNDLE = "/run/builder-certificates.crt"
CARRIED = re.compile(
    r"(?i)^(https?_proxy|no_proxy|modelscope_endpoint|pip_(index_url|extra_index_url|find_links|default_timeout))$"
)
"""What a network of mirrors and proxies needs of this machine's environment during RUN; none of it stays."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Stage:
    """One stage while it is built."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": DEFAULT_PATH})
    args: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    meta: dict[str, object] = field(default_factory=dict)

    def names(self) -> dict[str, str]:
        return {**self.args, **self.env}


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(instruction, arguments), with comments dropped and continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def expand(text: str, names: Mapping[str, str]) -> str:
    """`$NAME` and `${NAME}` filled in; an unknown name is empty, as Docker has it."""
    return re.sub(r"\$\{?(\w+)\}?", lambda match: names.get(match[1], ""), text)


def stage_context(source: Path, target: Path) -> None:
    """Copies what `.dockerignore` lets through: the last pattern that matches a path decides."""
    ignore = (source / ".dockerignore").read_text("utf-8").splitlines()
    patterns = [line for line in map(str.strip, ignore) if line and not line.startswith("#")]
    tops = {name.removeprefix("!").split("/")[0] for name in patterns if name.startswith("!")}
    for top in sorted(tops):
        base = source / top
        for path in [base, *base.rglob("*")] if base.is_dir() else [base]:
            relative = path.relative_to(source).as_posix()
            if path.is_file() and not ignored(relative, patterns):
                (target / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target / relative)


def ignored(relative: str, patterns: list[str]) -> bool:
    verdict = False
    parents = ["/".join(relative.split("/")[: n + 1]) for n in range(relative.count("/") + 1)]
    for pattern in patterns:
        wanted = pattern.removeprefix("!").removeprefix("**/")
        anywhere = pattern.removeprefix("!").startswith("**/")
        if any(fnmatch.fnmatch(part.rsplit("/", 1)[-1] if anywhere else part, wanted) for part in parents):
            verdict = not pattern.startswith("!")
    return verdict


def host_environment() -> dict[str, str]:
    carried = {name: value for name, value in os.environ.items() if CARRIED.match(name)}
    return carried | (dict.fromkeys(CERTIFICATES, BUNDLE) if "SSL_CERT_FILE" in os.environ else {})


def host_binds() -> dict[Path, str]:
    """Paths of this machine that RUN steps need to see, and where: names, certificates, local wheel folders."""
    named = {"/etc/resolv.conf": "/etc/resolv.conf", "/etc/hosts": "/etc/hosts"}
    named |= {path: BUNDLE for path in [os.environ.get("SSL_CERT_FILE")] if path}
    named |= {part: part for part in os.environ.get("PIP_FIND_LINKS", "").split() if part.startswith("/")}
    return {Path(path): inside for path, inside in named.items() if Path(path).exists()}


def chroot_script(root: Path, binds: Mapping[Path, str]) -> str:
    """A shell line that mounts what a container has, then becomes the command; the mounts end with it."""
    lines = [f"mount --rbind /dev {root}/dev", f"mount -t proc proc {root}/proc"]
    for path, target in binds.items():
        inside = root / target.lstrip("/")
        if not inside.exists():
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.mkdir() if path.is_dir() else inside.touch()
        lines.append(f"mount --bind {path} {inside}")
    return " && ".join([*lines, 'exec "$@"'])


def run(stage: Stage, command: str) -> None:
    """One RUN, as the stage's user, with its environment and nothing else's but the network's."""
    environment = host_environment() | stage.args | stage.env
    chroot = ["chroot", f"--userspec={stage.user}", str(stage.root), "/usr/bin/env", "-i", "-C", stage.workdir]
    chroot += [f"{name}={value}" for name, value in environment.items()] + ["/bin/sh", "-c", command]
    binds = host_binds()
    mount_points = {stage.root / target.lstrip("/"): path for path, target in binds.items()}
    created = [point for point in mount_points if not point.exists()]
    script = chroot_script(stage.root, binds)
    status = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *chroot], check=False).returncode
    for point in created:
        point.rmdir() if point.is_dir() else point.unlink(missing_ok=True)
    if status:
        raise SystemExit(f"RUN {command}: exit status {status}")


def copy(stage: Stage, arguments: str, context: Path, stages: Mapping[str, Stage]) -> None:
    """COPY [--from=STAGE] SOURCE… TARGET"""
    words = expand(arguments, stage.names()).split()
    flags = [word for word in words if word.startswith("--")]
    *sources, target = [word for word in words if not word.startswith("--")]
    origin = context
    for flag in flags:
        if not flag.startswith("--from="):
            raise SystemExit(f"COPY {flag}: not understood")
        origin = stages[flag.removeprefix("--from=")].root
    into = stage.root / os.path.join(stage.workdir, target).lstrip("/")  # noqa: PTH118  (an absolute target wins)
    as_folder = target.endswith("/") or len(sources) > 1 or target in {".", "./"}
    for source in sources:
        path = origin / source.lstrip("/")
        if path.is_dir():
            into.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", f"{path}/.", str(into)], check=True)
        else:
            (into if as_folder else into.parent).mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", str(path), str(into)], check=True)


def base_image(image: str, target: Path, debian: Path, stages: Mapping[str, Stage]) -> Stage:
    """FROM: an earlier stage, Debian, or Node on Debian."""
    subprocess.run(["rm", "-rf", str(target)], check=True)
    source = stages[image].root if image in stages else debian
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)
    if image.startswith("node:"):
        node = shutil.which("node")
        if node is None:
            raise SystemExit(f"FROM {image}: this machine has no Node.js to be copied in")
        prefix = Path(node).parent.parent  # /usr, or /usr/local
        for name in ("bin/node", "bin/npm", "lib/node_modules/npm"):
            (target / "usr" / name).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", str(prefix / name), str(target / "usr" / name)], check=True)
    elif image not in stages and not image.startswith("debian:"):
        raise SystemExit(f"FROM {image}: not understood")
    return Stage(target)


def environment_pairs(arguments: str) -> list[tuple[str, str]]:
    return [tuple(word.split("=", 1)) for word in arguments.split()]  # type: ignore[misc]


def apply(stage: Stage, name: str, arguments: str, build: "Build") -> None:
    """One instruction on a stage."""
    if name == "RUN":
        run(stage, arguments)
    elif name == "COPY":
        copy(stage, arguments, build.context, build.stages)
    elif name == "ENV":
        stage.env |= {key: expand(value, stage.names()) for key, value in environment_pairs(arguments)}
    elif name == "ARG":
        key, _, default = arguments.partition("=")
        stage.args[key] = build.given.get(key, build.global_args.get(key, expand(default, stage.names())))
    elif name == "WORKDIR":
        stage.workdir = os.path.join(stage.workdir, expand(arguments, stage.names()))  # noqa: PTH118
        (stage.root / stage.workdir.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif name == "USER":
        stage.user = arguments
    elif name in {"ENTRYPOINT", "CMD"}:
        stage.meta[name.lower()] = json.loads(arguments)
    elif name == "HEALTHCHECK":
        stage.meta["healthcheck"] = json.loads(arguments[arguments.index("[") :])
    elif name in {"EXPOSE", "STOPSIGNAL"}:
        stage.meta[name.lower()] = arguments
    else:
        raise SystemExit(f"{name}: not understood")


@dataclass
class Build:
    """One walk through a Dockerfile."""

    context: Path
    work: Path
    debian: Path
    given: dict[str, str]
    global_args: dict[str, str] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)

    def begin(self, arguments: str) -> Stage:
        image, _, alias = expand(arguments, self.global_args).partition(" AS ")
        name = alias or "image"
        self.stages[name] = base_image(image, self.work / name, self.debian, self.stages)
        return self.stages[name]

    def walk(self, text: str) -> Stage:
        stage: Stage | None = None
        for name, arguments in instructions(text):
            print(f"--> {name} {arguments}"[:160], flush=True)
            if name == "FROM":
                stage = self.begin(arguments)
            elif stage is None:
                key, _, default = arguments.partition("=")
                self.global_args[key] = self.given.get(key, default)
            else:
                apply(stage, name, arguments, self)
        if stage is None:
            raise SystemExit("no FROM")
        return stage


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dockerfile", type=Path)
    parser.add_argument("--context", type=Path, default=Path())
    parser.add_argument("--work", type=Path, required=True, help="folder for the stages; grows to several GB")
    parser.add_argument("--debian", type=Path, required=True, help="root file system for FROM debian:*")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    context = options.work / "context"
    shutil.rmtree(context, ignore_errors=True)
    stage_context(options.context.resolve(), context)
    given = dict(pair.split("=", 1) for pair in options.build_arg)
    build = Build(context, options.work, options.debian, given)
    stage = build.walk(options.dockerfile.read_text("utf-8"))
    facts = {"env": stage.env, "user": stage.user, "workdir": stage.workdir, **stage.meta}
    (options.work / "image.json").write_text(json.dumps(facts, indent=2), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
