// README.md's table of options has a row for every option that the types have, and for no other.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import ts from "typescript";
import { root } from "../scripts/programs.js";

/** The members of an interface in lib/options.ts. */
function membersOf(name) {
	const file = join(root, "lib/options.ts");
	const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.ES2022);
	const found = source.statements.find((node) => ts.isInterfaceDeclaration(node) && node.name.text === name);
	return found.members.map((member) => member.name.text).sort();
}

/** The names in the first column of the table whose first row begins with `head`. */
function rowsOf(head) {
	const lines = readFileSync(join(root, "README.md"), "utf8").split("\n");
	const from = lines.findIndex((line) => line.startsWith(head));
	assert.ok(from >= 0, `no table ${head}`);
	const table = lines.slice(from + 2, lines.indexOf("", from));
	return table.flatMap((line) => [...line.split("|")[1].matchAll(/`([^`]+)`/g)].map(([, name]) => name)).sort();
}

test("the options of a store", () => {
	assert.deepEqual(rowsOf("| option |"), membersOf("StoreOptions"));
});

test("the options of the near cache", () => {
	assert.deepEqual(rowsOf("| `nearCache` | default |"), membersOf("NearCacheOptions"));
});
