// Suites of the tests, run one by one on something else than this machine's Node.js and Redis, and the tables that they make.

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./programs.js";

/**
 * Runs one suite, by a program with these arguments: "passes" or "fails". `on`: what it runs on, for the line that it prints.
 * @param {string} on
 * @param {string} file of `__test__`, without `.test.js`
 */
export function runSuite(on, file, program, args) {
	const { NODE_TEST_CONTEXT: _, ...env } = process.env; // the suite is no test file of the run that this may be in
	const start = performance.now();
	const { status, stdout, stderr } = spawnSync(program, [...args, `./__test__/${file}.test.js`], {
		cwd: root,
		env,
		encoding: "utf8",
		timeout: 300_000,
	});
	const result = status === 0 ? "passes" : "fails";
	console.log(`${on}: ${file} ${result} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
	if (status !== 0) console.log(stdout.slice(-10_000), stderr.slice(-10_000));
	return result;
}

/** Markdown. @param {string[][]} rows the titles first */
export function tableOf([titles, ...rows]) {
	return [titles, titles.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** Puts a table in the place of the one in a page of docs/. */
export function writeTable(page, table) {
	const file = join(root, "docs", page);
	const text = readFileSync(file, "utf8");
	writeFileSync(
		file,
		text.replace(/(<!-- table -->\n).*(<!-- end -->)/s, (_, before, after) => `${before}${table}\n${after}`),
	);
}
