// The JavaScript runtimes that the package is for: Node.js of every supported line, Bun and Deno, installed from npm into
// target/runtimes/ (some 100 MB each).

import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/programs.js";

const NODE = ["--test", "--test-concurrency=1"];

/** `runs`: the arguments before a test file. @type {{ title: string, package: string, runs: string[] }[]} */
export const RUNTIMES = [
	...["20", "22", "24", "26"].map((line) => ({ title: "Node.js", package: `node@${line}`, runs: NODE })),
	{ title: "Bun", package: "bun@latest", runs: ["test", "--timeout", "60000"] },
	{ title: "Deno", package: "deno@latest", runs: ["test", "--allow-all", "--no-check"] },
];

/**
 * Fetches the newest version of a runtime's line, unless it is there.
 * @param {(typeof RUNTIMES)[number]} runtime
 * @returns {{ title: string, version: string, path: string, runs: string[] }}
 */
export function installRuntime({ title, package: name, runs }) {
	const [program] = name.split("@");
	const folder = join(root, "target/runtimes", name.replace("@", "-"));
	mkdirSync(folder, { recursive: true });
	writeFileSync(join(folder, "package.json"), "{}"); // else npm would install into the project round it
	const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ["npm"];
	const [command, ...args] = [...npm, "install", name, "--no-audit", "--no-fund", "--no-package-lock"];
	const { status } = spawnSync(command, args, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
	if (status !== 0) throw new Error(`npm cannot install ${name} (its reason is above): that takes the npm registry`);
	const path = join(folder, "node_modules/.bin", program);
	const version = spawnSync(path, ["--version"], { encoding: "utf8" }).stdout.match(/\d+\.\d+\.\d+/)[0];
	console.log(`${title} ${version}`);
	return { title, version, path, runs };
}
