"""A kubectl that keeps objects in a file: the verbs our scripts use, refused when the cluster would refuse them.

Runs as a program. `FAKE_KUBECTL` names its folder: `objects.json` is the cluster, `calls.log` what was asked,
`fail.json` maps a verb to the number of times it still fails. An applied Job really runs its command, here.
"""

import argparse
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HOME = Path(os.environ.get("FAKE_KUBECTL", "."))
OBJECTS, CALLS, FAIL = HOME / "objects.json", HOME / "calls.log", HOME / "fail.json"
CLUSTER_SCOPED = {"namespace", "customresourcedefinition", "clusterrole"}
SHORT = {"crd": "customresourcedefinition", "cm": "configmap"}


def load(path: Path = OBJECTS) -> dict[str, Any]:
    """The cluster's objects by `kind/namespace/name`."""
    return json.loads(path.read_text()) if path.is_file() else {}


def key_of(kind: str, namespace: str, name: str) -> str:
    """Where an object is kept; cluster-scoped ones have no namespace."""
    kind = SHORT.get(kind.lower(), kind.lower())
    return f"{kind}/{'' if kind in CLUSTER_SCOPED else namespace}/{name}"


def stop(message: str) -> None:
    """End like kubectl does when the server says no."""
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(1)


def lookup(found: dict[str, Any], path: str) -> str:
    """The parts of JSONPath our scripts use: fields, escaped dots, one filter on a list."""
    value: Any = found
    for field, wanted, after in re.findall(r"\.((?:\\.|[^.\[\]\\])+)|\[\?\(@\.type==\"(\w+)\"\)\](?:\.(\w+))?", path):
        if wanted:
            value = next((item for item in value or [] if item["type"] == wanted), {}).get(after)
            break
        value = (value or {}).get(field.replace("\\.", "."))
    return "" if value is None else str(value)


def run_job(job: dict[str, Any], objects: dict[str, Any]) -> None:
    """Run the command of a Job as the cluster would: the image's environment (`image.json`), then the manifest's.

    Volumes are folders under ours.
    """
    container = job["spec"]["template"]["spec"]["containers"][0]
    variables = {name: os.environ[name] for name in ("PATH", "FAKE_KUBECTL")} | load(HOME / "image.json")
    for source in container.get("envFrom", []):
        kind, reference = ("configmap", source["configMapRef"]) if "configMapRef" in source else (
            "secret", source["secretRef"]
        )
        data = objects[key_of(kind, job["metadata"]["namespace"], reference["name"])]["data"]
        variables |= {
            name: value if kind == "configmap" else base64.b64decode(value).decode() for name, value in data.items()
        }
    for item in container["env"]:
        value = item.get("value")
        if value is None:
            reference = item["valueFrom"]["configMapKeyRef"]
            value = objects[key_of("configmap", job["metadata"]["namespace"], reference["name"])]["data"][
                reference["key"]
            ]
        for mount in container["volumeMounts"]:
            if value == mount["mountPath"] or value.startswith(mount["mountPath"] + "/"):
                value = str(HOME / "volumes") + value
        variables[item["name"]] = value
    done = subprocess.run(
        container["command"], env=variables, capture_output=True, text=True, check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    (HOME / "job.log").write_text(done.stdout + done.stderr)
    ended = {"succeeded": 1} if done.returncode == 0 else {
        "failed": 1, "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
    }
    job["status"] = ended


def selected(item: dict[str, Any], selector: str) -> bool:
    """Whether the labels of an object fit `key=value,other!=value`."""
    labels = item["metadata"].get("labels", {})
    for part in filter(None, selector.split(",")):
        key, negated, value = re.fullmatch(r"([^=!]+)(!?)=(.*)", part).groups()  # type: ignore[union-attr]
        if (labels.get(key) == value) == bool(negated):
            return False
    return True


def apply(text: str, objects: dict[str, Any], selector: str = "") -> None:
    """Store every selected object of a document; objects in a namespace that does not exist are refused."""
    import yaml

    for document in yaml.load_all(text, yaml.CSafeLoader):
        for item in document["items"] if document and document["kind"] == "List" else [document] if document else []:
            if not selected(item, selector):
                continue
            namespace = item["metadata"].get("namespace", "default")
            if item["kind"].lower() not in CLUSTER_SCOPED and key_of("namespace", "", namespace) not in objects:
                stop(f'namespaces "{namespace}" not found')
            key = key_of(item["kind"], namespace, item["metadata"]["name"])
            if item["kind"] == "Job" and key in objects and objects[key]["spec"] != item["spec"]:
                stop(f"{key}: spec.template: field is immutable")
            if item["kind"] == "Job" and key not in objects:
                run_job(item, objects)
            objects[key] = item | {"status": item.get("status") or objects.get(key, {}).get("status", {})}
            sys.stdout.write(f"{key} serverside-applied\n")


def answer(verb: str, output: str, found: list[dict[str, Any]], *, several: bool) -> None:
    """What kubectl prints: nothing for nothing, a List when several were asked for."""
    if verb == "logs":
        sys.stdout.write((HOME / "job.log").read_text())
    elif verb == "get" and output == "json" and several:
        sys.stdout.write(json.dumps({"apiVersion": "v1", "kind": "List", "items": found}))
    elif verb == "get" and found:
        template = output.removeprefix("jsonpath=")
        sys.stdout.write(
            json.dumps(found[0]) if output == "json"
            else re.sub(r"\{([^}]+)\}", lambda part: lookup(found[0], part[1]), template)
        )


def main() -> None:
    """One call."""
    arguments = sys.argv[1:]
    with CALLS.open("a") as log:
        log.write(" ".join(arguments) + "\n")
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag in ("--server-side", "--force-conflicts", "--ignore-not-found"):
        parser.add_argument(flag, action="store_true")
    for option in ("--context", "--field-manager", "--timeout", "--for", "--tail", "--wait", "--dry-run", "--follow"):
        parser.add_argument(option)
    parser.add_argument("--from-literal", action="append", default=[])
    parser.add_argument("-n", "--namespace", default="default")
    parser.add_argument("-o", "--output", default="")
    parser.add_argument("-f", "--filename", default="")
    parser.add_argument("-l", "--selector", default="")
    parser.add_argument("words", nargs="+")
    options = parser.parse_intermixed_args(arguments)
    verb, *words = options.words
    failing = load(FAIL)
    if failing.get(verb, 0) > 0:
        FAIL.write_text(json.dumps(failing | {verb: failing[verb] - 1}))
        stop(f"{verb}: the connection was lost, on purpose")
    objects = load()
    if verb == "kustomize":
        real = os.environ["REAL_KUSTOMIZE"].split()
        folder = HOME / "overlay"
        shutil.copytree(words[0], folder / Path(words[0]).name, dirs_exist_ok=True)
        from tests.manifests.overlay import on_stub

        on_stub(folder / Path(words[0]).name)
        raise SystemExit(subprocess.run([*real, str(folder / Path(words[0]).name)], check=False).returncode)
    if verb == "apply":
        apply(sys.stdin.read() if options.filename == "-" else Path(options.filename).read_text(), objects,
              options.selector)
    elif verb == "create":
        data = dict(item.split("=", 1) for item in options.from_literal)
        metadata = {"name": words[1], "namespace": options.namespace}
        sys.stdout.write(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
        return
    elif verb in ("get", "delete", "logs", "wait", "rollout"):
        if verb == "get" and len(words) == 1:  # all of some kinds in one namespace
            kinds = [kind.rstrip("s") for kind in words[0].split(",")]
            found = [item for key, item in objects.items()
                     if key.split("/")[0] in kinds and key.split("/")[1] == options.namespace]
            sys.stdout.write(json.dumps({"apiVersion": "v1", "kind": "List", "items": found}))
            return
        if verb in ("get", "delete"):
            keys = [key_of(words[0], options.namespace, name) for name in words[1:]]
        else:
            pairs = [name.split("/") for name in words if "/" in name]
            keys = [key_of(kind, options.namespace, name) for kind, name in pairs]
        absent = [key for key in keys if key not in objects]
        if absent and not options.ignore_not_found:
            stop(f"{absent[0]} not found")
        answer(verb, options.output, [objects[key] for key in keys if key in objects], several=len(keys) > 1)
        if verb != "delete":
            return
        objects = {key: item for key, item in objects.items() if key not in keys}
    else:
        stop(f"unknown verb {verb}")
    OBJECTS.write_text(json.dumps(objects))


if __name__ == "__main__":
    main()
