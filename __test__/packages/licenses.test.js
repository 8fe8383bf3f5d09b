// The platforms' packages tell the licence of every crate that is linked into the addon, and of no other.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { addCargoHome, outputOf, root } from "../../scripts/programs.js";

addCargoHome();
const { targets } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).napi;

/**
 * The crates that a build for a target links, the workspace's own left out: "name version". By `cargo tree`, because `cargo metadata` also tells
 * optional ones that nothing turns on.
 */
function linkedFor(target) {
	const tree = ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--target", target];
	const output = outputOf("cargo", tree);
	assert.ok(output, `cargo ${tree.join(" ")} failed`);
	const lines = output.split("\n").filter((line) => line !== "" && !line.includes(root.slice(0, -1)));
	return lines.map((line) => line.replace(/^(\S+) v(\S+).*/, "$1 $2"));
}

/** What stands between the name of a licence and its text. */
const sections = readFileSync(join(root, "THIRD-PARTY-LICENSES"), "utf8")
	.split(/^-{80}$/m)
	.slice(1)
	.map((section) => section.trim().split("\n\n"));

test("THIRD-PARTY-LICENSES names every crate that is linked on some platform, and no other", () => {
	const linked = new Set(targets.flatMap(linkedFor));
	assert.ok(linked.size > 80, `only ${linked.size} crates were found`);
	const told = new Set(sections.flatMap(([, crates]) => crates.split("\n").map((line) => line.replace(/ \(.*/, ""))));
	const missing = [...linked].filter((crate) => !told.has(crate)).sort();
	const stale = [...told].filter((crate) => !linked.has(crate)).sort();
	assert.deepEqual({ missing, stale }, { missing: [], stale: [] }, "`npm run licenses` writes them anew");
});

test("THIRD-PARTY-LICENSES holds each licence in full", () => {
	for (const [id, crates, ...text] of sections) {
		assert.match(id, /^[A-Z][\w.-]+$/);
		assert.ok(text.join("\n\n").length > 500, `${id} of ${crates}`);
	}
});
