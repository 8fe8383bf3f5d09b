// Checks the layout of the Rust crates: no module imports one that, directly or not, imports it; and no two types of the core have one name.
//   --list   also prints which module imports which
// A name that a module re-exports counts for the module that defines it. Tests inside a module are left out.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./programs.js";

const SOURCES = { session_store: "crates/session-store/src", addon: "src" };

/** A declaration at the top of a module; types inside of traits and functions are indented. */
const TYPE = /^(?:pub(?:\([a-z ]+\))? )?(?:struct|enum|union|trait|type) (\w+)/gm;

for (const [crate, folder] of Object.entries(SOURCES)) {
	const modules = modulesOf(join(root, folder));
	const imports = new Map([...modules.keys()].map((path) => [path, importsOf(path, modules)]));
	if (process.argv.includes("--list")) {
		console.log(`${crate}: ${modules.size} modules`);
		for (const [path, found] of imports) console.log(`  ${path || "lib"} -> ${[...found].sort().join(", ") || "none"}`);
	}
	for (const circle of circlesOf(imports)) fail(`${crate}: these modules import each other: ${circle.join(", ")}`);
	if (crate !== "session_store") continue;
	for (const [name, paths] of typesOf(modules)) {
		if (paths.size > 1) fail(`${crate}: two types are called ${name}: in ${[...paths].join(" and ")}`);
	}
}
if (!process.exitCode) console.log("No module imports one that imports it, and each type has a name of its own.");

function fail(message) {
	console.error(message);
	process.exitCode = 1;
}

/** The text of each module, by its path: "" is lib.rs. @returns {Map<string, string>} */
function modulesOf(folder) {
	const modules = new Map();
	const visit = (path, file) => {
		const text = withoutTestsAndComments(readFileSync(file, "utf8"));
		modules.set(path, text);
		const inner = join(folder, ...path.split("::"));
		for (const [, name] of text.matchAll(/^(?:pub(?:\([a-z]+\))? )?mod (\w+);/gm)) {
			const found = [join(inner, `${name}.rs`), join(inner, name, "mod.rs")].find(existsSync);
			if (found) visit(below(path, name), found);
		}
	};
	visit("", join(folder, "lib.rs"));
	return modules;
}

/** Without comments, and without what `#[cfg(test)]` covers, up to the brace that closes it. */
function withoutTestsAndComments(text) {
	const code = text.replace(/\/\/.*$/gm, "");
	return code.replace(
		/#\[cfg\((?:all\()?test[^\]]*\]\s*(?:mod \w+;|(?:use|pub\(.*\) use) [^;]+;|[^{;]*\{[\s\S]*?^\})/gm,
		"",
	);
}

/** The modules that declare each type. @returns {Map<string, Set<string>>} */
function typesOf(modules) {
	const types = new Map();
	for (const [path, text] of modules) {
		for (const [, name] of text.matchAll(TYPE)) types.set(name, (types.get(name) ?? new Set()).add(path || "lib"));
	}
	return types;
}

/** The modules whose items a module names. */
function importsOf(path, modules) {
	const targets = pathsIn(modules.get(path)).map((name) => resolve(path, name.split("::"), modules));
	return new Set(targets.filter((target) => target !== undefined && target !== path));
}

/** Every path in a text, `use` trees taken apart. */
function pathsIn(text) {
	const paths = [];
	const rest = text.replace(/\buse ([^;]+);/g, (_, tree) => {
		paths.push(...flattened(tree));
		return "";
	});
	return [...paths, ...(rest.match(/\b[a-z_]\w*(?:::\w+)+/g) ?? [])];
}

/** `a::{b, c::d as e}` as `a::b` and `a::c::d`. */
function flattened(tree) {
	const open = tree.indexOf("{");
	if (open < 0) return [tree.trim().replace(/\s+as \w+$|::\*$/, "")];
	const head = tree.slice(0, open).trim();
	const parts = [""];
	let depth = 0;
	for (const char of tree.slice(open + 1, tree.lastIndexOf("}"))) {
		if (char === "{") depth += 1;
		if (char === "}") depth -= 1;
		if (char === "," && depth === 0) parts.push("");
		else parts.push(parts.pop() + char);
	}
	return parts.filter((part) => part.trim()).flatMap((part) => flattened(head + part.trim()));
}

/** The module that defines what a path names; re-exports are followed. */
function resolve(from, [first, ...names], modules) {
	let module = below(from, first);
	if (first === "crate") module = "";
	else if (first === "super") module = parentOf(from);
	else if (first === "self") module = from;
	else if (!modules.has(module)) return undefined;
	for (; names[0] === "super"; names.shift()) module = parentOf(module);
	for (; names.length > 0 && modules.has(below(module, names[0])); names.shift()) module = below(module, names[0]);
	if (names.length === 0 || names[0] === "self") return module;
	for (const [, tree] of modules.get(module).matchAll(/\bpub(?:\([a-z ]+\))? use ([^;]+);/g)) {
		const exported = flattened(tree).find((path) => path.endsWith(`::${names[0]}`));
		if (exported) return resolve(module, exported.split("::"), modules) ?? module;
	}
	return module;
}

function below(path, name) {
	return path ? `${path}::${name}` : name;
}

function parentOf(path) {
	return path.split("::").slice(0, -1).join("::");
}

/** The groups of modules that reach each other (Tarjan's strongly connected components, of more than one). */
function circlesOf(imports) {
	const index = new Map();
	const low = new Map();
	const stack = [];
	const circles = [];
	const visit = (node) => {
		index.set(node, index.size);
		low.set(node, index.get(node));
		stack.push(node);
		for (const next of imports.get(node)) {
			if (!index.has(next)) visit(next);
			if (stack.includes(next)) low.set(node, Math.min(low.get(node), low.get(next)));
		}
		if (low.get(node) !== index.get(node)) return;
		const circle = stack.splice(stack.indexOf(node));
		if (circle.length > 1) circles.push(circle.sort());
	};
	for (const node of imports.keys()) if (!index.has(node)) visit(node);
	return circles;
}
