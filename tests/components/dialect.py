"""The dialect of pipelines that means the same under `kfp.local` and on a cluster: every rule as a function.

Each rule answers with sentences about what breaks it; the sources of the rules are silent or surprising behaviour of
kfp 2.17, most of them a skipped branch in a run that reports success.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from typing import Any

MAX_STATEMENTS = 8
"""Statements of a component body beside imports: read, call one function, write, return."""

TIME_PLACEHOLDERS = {
    "PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER", "PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER",
    "PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER",
}


def source_problems(source: str) -> list[str]:
    """What is wrong with a file of components or pipelines."""
    tree = ast.parse(source)
    found: list[str] = []
    module_names = _module_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            found.append("future annotations turn types into strings: kfp cannot read them")
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            found.append("import * can overwrite the component helper")
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if name in TIME_PLACEHOLDERS:
                found.append(f"{name} raises IndexError in the local runner")
            if name in ("container_component", "ContainerSpec"):
                found.append("container components do not run locally")
        if isinstance(node, ast.keyword) and node.arg in ("target_image", "packages_to_install") and not (
            isinstance(node.value, ast.List) and not node.value.elts
        ):
            found.append(f"{node.arg}: tasks run in our image, nothing is built or installed")
    for function in [node for node in tree.body if isinstance(node, ast.FunctionDef)]:
        kind = _decorator(function)
        if kind == "component":
            found.extend(_component_problems(function, module_names))
        elif kind == "pipeline":
            found.extend(_pipeline_problems(function))
        elif any(_decorator(other) == "component" for other in tree.body if isinstance(other, ast.FunctionDef)):
            found.append(f"module-level helper {function.name} beside a component: it does not travel with the body")
    return found


def _decorator(function: ast.FunctionDef) -> str:
    for decorator in function.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
        if name in ("component", "pipeline"):
            return name
    return ""


def _module_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def _component_problems(function: ast.FunctionDef, module_names: set[str]) -> list[str]:
    found = []
    body = function.body[1:] if ast.get_docstring(function) else function.body
    statements = sum(not isinstance(node, ast.Import | ast.ImportFrom) for node in body)
    if statements > MAX_STATEMENTS:
        found.append(f"{function.name} has {statements} statements beside imports, at most {MAX_STATEMENTS}")
    arguments = [*function.args.args, *function.args.kwonlyargs]
    known = {argument.arg for argument in arguments} | set(dir(builtins))
    for node in body:
        for part in ast.walk(node):
            if isinstance(part, ast.Import | ast.ImportFrom):
                known.update((alias.asname or alias.name).split(".")[0] for alias in part.names)
            elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                known.add(part.id)
    for node in body:
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and part.id not in known:
                origin = "module-level name" if part.id in module_names else "unknown name"
                found.append(f"{function.name} uses {origin} {part.id}: NameError in a real run")
    return found


def _pipeline_problems(function: ast.FunctionDef) -> list[str]:
    found = []
    defaults = [*function.args.defaults, *function.args.kw_defaults]
    if any(isinstance(default, ast.Constant) and default.value is None for default in defaults):
        found.append(f"{function.name} has a parameter with default None: the local runner refuses it")
    for argument in function.args.args:
        text = "" if argument.annotation is None else ast.unparse(argument.annotation)
        if "Optional" in text or "None" in text:
            found.append(f"{function.name} has an Optional parameter {argument.arg}: use an empty string")
    if any(isinstance(node, ast.JoinedStr) for node in ast.walk(function)):
        found.append(f"{function.name} has an f-string: whole numbers become floats in it")
    return found


def spec_problems(documents: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a compiled pipeline (its YAML documents)."""
    spec = documents[0]
    found = [*_executor_problems(spec), *_input_problems(spec)]
    if any("workspace" in str(document.get("platforms", {}).get("kubernetes", {}).get("pipelineConfig", {}))
           for document in documents[1:]):
        found.append("a workspace is deleted after the first local run")
    for name, dag in _dags(spec):
        if "artifactSelectors" in str(dag.get("outputs", {})):
            found.append(f"{name} selects one of several artifacts: the local runner raises")
        for task_name, task in dag["tasks"].items():
            condition = task.get("triggerPolicy", {}).get("condition")
            if condition:
                found.extend(_condition_problems(name, task_name, task, condition))
            items = task.get("parameterIterator", {}).get("items", {}).get("inputParameter")
            if items:
                source = task["inputs"]["parameters"].get(items, {}).get("taskOutputParameter", {})
                if source and source["outputParameterKey"] != "Output":
                    found.append(f"{task_name} loops over a named output: the local runner cannot find it")
            reference = spec["components"][task["componentRef"]["name"]]
            if "executorLabel" in reference and task.get("cachingOptions", {}).get("enableCache"):
                found.append(f"{task_name} is cached: caches never expire and do not see our code or the database")
    return found


def _dags(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "root", spec["root"]["dag"]
    for name, component in spec.get("components", {}).items():
        if "dag" in component:
            yield name, component["dag"]


def _executor_problems(spec: dict[str, Any]) -> list[str]:
    found = []
    for name, executor in spec["deploymentSpec"]["executors"].items():
        container = executor.get("container")
        if container is None:
            continue
        text = " ".join(str(part) for part in [*container.get("command", []), *container.get("args", [])])
        if "kfp.dsl.executor_main" not in text:
            found.append(f"{name} is a container component: it does not run locally")
        if "pip install" in text or "pip3 install" in text:
            found.append(f"{name} installs packages when it runs")
    return found


def _input_problems(spec: dict[str, Any]) -> list[str]:
    parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return [
        f"pipeline parameter {name} is optional without a value: the local runner raises"
        for name, definition in parameters.items() if definition.get("isOptional") and "defaultValue" not in definition
    ]


def _condition_problems(dag: str, name: str, task: dict[str, Any], condition: str) -> list[str]:
    found = []
    bare = re.sub(r"inputs\.parameter_values\['[^']*'\]", "", condition)
    literals = re.sub(r"'[^'\"]*'", "", bare)
    if "'" in literals or '"' in literals or "\\" in literals:
        found.append(f"{name} compares with a literal that holds a quote: both branches are skipped")
    if "condition-branches" in dag:
        return found  # with an Else the runner resolves named outputs
    for channel in re.findall(r"parameter_values\['([^']*)'\]", condition):
        source = task["inputs"]["parameters"].get(channel, {}).get("taskOutputParameter")
        if source and source["outputParameterKey"] != "Output":
            found.append(f"{name} is an If without Else on a named output: silently skipped, the run succeeds")
    return found
