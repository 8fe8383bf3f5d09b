// Which programs a test file needs, known from the modules that it imports, directly or not.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { PROGRAMS, root } from "./programs.js";

/** The modules that start programs, with the programs (keys of PROGRAMS). */
const STARTS = {
	"__test__/support/redis.js": ["redis-server"],
	"__test__/support/certificates.js": ["openssl"],
	"__test__/support/postgres.js": ["postgresql"],
	"__test__/support/nginx.js": ["nginx"],
	"__test__/browser/people.js": ["chromium"],
	"examples/nextjs/cluster/prepare.js": ["redis-server", "postgresql", "nginx"],
};

/** A relative path to a JavaScript file, as `import`, `new URL` and `new Worker` have it. */
const RELATIVE_PATH = /["'`](\.\.?\/[^"'`\n]+\.m?js|[\w.-]+\.(?:child|worker)\.js)["'`]/g;

/**
 * The titles of the programs that a test file needs and that are not found.
 * @param {string} file
 * @returns {string[]}
 */
export function missingProgramsOf(file) {
	const needed = new Set(modulesOf(join(root, file)).flatMap((module) => STARTS[relative(root, module)] ?? []));
	return [...needed].filter((name) => !PROGRAMS[name].find()).map((name) => PROGRAMS[name].title);
}

/** The file itself and the modules below it. */
function modulesOf(file, found = new Set()) {
	if (found.has(file)) return [];
	found.add(file);
	for (const [, path] of readFileSync(file, "utf8").matchAll(RELATIVE_PATH)) {
		const module = join(dirname(file), path);
		if (existsSync(module)) modulesOf(module, found);
	}
	return [...found];
}
