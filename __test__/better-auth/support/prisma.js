// Prisma as the example has it (examples/nextjs/package-lock.json), in target/prisma (300 MB). It is no dependency of the project's
// own: npm would run its install scripts, and these download engines that nothing here needs.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { findProgram, root } from "../../../scripts/programs.js";

const PACKAGES = ["@prisma/adapter-pg", "@prisma/client", "prisma"];

/** Nothing is reported to Prisma, and the schema engine is not downloaded: only the commands for migrations use it. */
const QUIET = { CHECKPOINT_DISABLE: "1", PRISMA_SCHEMA_ENGINE_BINARY: findProgram("true") };

const folder = join(root, "target/prisma");

/**
 * Installs Prisma and generates the client of a schema. What is in place is left alone.
 * @param {string} schemaPath its generator is `prisma-client-js` with `output = "client"`
 * @returns {(url: string, schema: string) => any} makes a PrismaClient for the tables in a schema of a PostgreSQL server
 */
export function preparePrisma(schemaPath) {
	mkdirSync(folder, { recursive: true });
	const schema = readFileSync(schemaPath, "utf8");
	const { packageJson, lock } = manifests();
	once("node_modules", lock, () => {
		write("package.json", packageJson);
		write("package-lock.json", lock);
		const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ["npm"];
		run([...npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
	});
	once("client", lock + schema, () => {
		write("schema.prisma", schema);
		run([process.execPath, "node_modules/prisma/build/index.js", "generate", "--schema", "schema.prisma"]);
	});
	const require = createRequire(join(folder, "package.json"));
	const { PrismaClient } = require("./client");
	const { PrismaPg } = require("@prisma/adapter-pg");
	return (url, schema) => new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: 2 }, { schema }) });
}

/** The package.json of the folder, and the example's lock for it: npm leaves out what these packages do not depend on. */
function manifests() {
	const lock = JSON.parse(readFileSync(join(root, "examples/nextjs/package-lock.json"), "utf8"));
	const versions = { ...lock.packages[""].dependencies, ...lock.packages[""].devDependencies };
	const dependencies = Object.fromEntries(PACKAGES.map((name) => [name, versions[name]]));
	lock.packages[""] = { dependencies };
	return { packageJson: JSON.stringify({ private: true, dependencies }), lock: JSON.stringify(lock) };
}

/** Makes a part of the folder, unless it was made from the same. */
function once(part, inputs, make) {
	const stamp = join(part, ".made-of");
	const hash = createHash("sha256").update(inputs).digest("hex");
	const path = join(folder, stamp);
	if (existsSync(path) && readFileSync(path, "utf8") === hash) return;
	make();
	write(stamp, hash);
}

function write(name, text) {
	writeFileSync(join(folder, name), text);
}

/** With its output only when it fails. */
function run([program, ...args]) {
	const options = { cwd: folder, encoding: "utf8", env: { ...process.env, ...QUIET } };
	const { status, stdout, stderr, error } = spawnSync(program, args, options);
	if (status === 0) return;
	throw new Error(`${[program, ...args].join(" ")} failed in ${folder}:\n${error?.message ?? ""}${stdout}${stderr}`);
}
