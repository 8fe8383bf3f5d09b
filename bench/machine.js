// What the figures were made on: without it they say nothing.

import { readFileSync } from "node:fs";
import { arch, cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { findRedisServer, outputOf, root } from "../scripts/programs.js";

export function describeMachine() {
	const processors = cpus();
	return {
		cpu: processors[0].model,
		cores: processors.length,
		memoryGiB: Math.round((totalmem() / 2 ** 30) * 10) / 10,
		system: `${type()} ${release()} ${arch()}`,
		node: process.versions.node,
		redis: outputOf(findRedisServer(), ["--version"]).match(/v=(\S+)/)[1],
		betterAuth: versionOf("better-auth"),
	};
}

/** The version of a peer's package, our own for the peer without one. */
export function versionOf(name) {
	const folder = name === undefined ? root : join(root, "node_modules", name);
	return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).version;
}
