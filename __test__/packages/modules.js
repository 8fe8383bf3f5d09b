// The package in every kind of module: ES modules, CommonJS, TypeScript's ways to resolve, a bundle.

import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import * as esbuild from "esbuild";
import { rounds } from "../support/counts.js";
import { Consumer, TSC } from "./consumer.js";
import { LISTED, stores } from "./managers.js";
import { NAME } from "./release.js";

/** With the typings of packages checked as well: `skipLibCheck` is off. */
const COMPILER = { strict: true, target: "es2022", lib: ["es2022", "dom"], types: [], skipLibCheck: false };

/** A file, its package's type, and the settings with which it is compiled. The first two stand for all. */
const TYPESCRIPT = [
	["sessions.ts", "module", "node16", "node16"],
	["sessions.ts", "commonjs", "preserve", "bundler"],
	["sessions.mts", "commonjs", "node16", "node16"],
	["sessions.cts", "module", "nodenext", "nodenext"], // node16 stands for a Node that cannot require ES modules
	["sessions.ts", "module", "esnext", "bundler"],
];

/**
 * @param {import("./release.js").Release} release
 * @param {import("../support/redis.js").RedisServer} redis
 */
export function modules(release, redis) {
	/** The package is installed once; each consumer has a copy. @type {Consumer} */
	let first;
	before(async () => {
		first = new Consumer(release);
		await first.npm("install", NAME);
	});
	after(() => first.end());

	function consumerIn(t) {
		const consumer = Consumer.for(t, release);
		cpSync(join(first.folder, "node_modules"), join(consumer.folder, "node_modules"), { recursive: true });
		return consumer;
	}

	test("an ES module", async (t) => {
		const consumer = consumerIn(t);
		consumer.copy("sessions.mjs");
		assert.equal(await consumer.node("sessions.mjs", ...stores(redis)), LISTED);
	});

	test("CommonJS, by require", async (t) => {
		const consumer = consumerIn(t);
		consumer.copy("sessions.cjs");
		assert.equal(await consumer.node("sessions.cjs", ...stores(redis)), LISTED);
	});

	for (const [file, type, module, moduleResolution] of TYPESCRIPT.slice(0, rounds(2, TYPESCRIPT.length))) {
		test(`TypeScript: ${file} in a ${type} package, module ${module}, moduleResolution ${moduleResolution}`, async (t) => {
			const consumer = consumerIn(t);
			consumer.copy("sessions.ts", file);
			consumer.write("package.json", { name: "consumer", type });
			const compilerOptions = { ...COMPILER, module, moduleResolution, outDir: "out" };
			// What runs the program has no types here: the names that it uses.
			consumer.write("node.d.ts", "declare const process: { argv: string[] };");
			consumer.write("tsconfig.json", { compilerOptions, files: [file, "node.d.ts"] });
			await consumer.node(TSC);
			if (module === "preserve") return; // what it wrote is for a bundler
			assert.equal(await consumer.node(`out/${file.replace("ts", "js")}`, ...stores(redis)), LISTED);
		});
	}

	test("a bundle that leaves it outside", async (t) => {
		const consumer = consumerIn(t);
		consumer.copy("sessions.mjs");
		await bundle(consumer, { external: [NAME] });
		assert.equal(await consumer.node("bundle.mjs", ...stores(redis)), LISTED);
	});

	test("a bundle that takes it in, and leaves the binary outside", async (t) => {
		const consumer = consumerIn(t);
		consumer.copy("sessions.mjs");
		await bundle(consumer, { external: ["*.node"] });
		assert.equal(await consumer.node("bundle.mjs", ...stores(redis)), LISTED);
	});

	for (const conditions of [["edge-light"], ["workerd"], ["browser"]]) {
		test(`a bundle for ${conditions}: says that it needs Node.js`, async (t) => {
			const consumer = consumerIn(t);
			consumer.copy("sessions.mjs");
			await bundle(consumer, { conditions, platform: "neutral" });
			const { code, output } = await consumer.tryNode("bundle.mjs");
			assert.equal(code, 1);
			assert.match(output, /Error: better-auth-redis-store needs the Node\.js runtime: .*getSessionCookie/);
		});
	}
}

/** Every name that the entries have is imported, so that one which is missing under a condition fails the build. */
function bundle(consumer, options) {
	return esbuild.build({
		absWorkingDir: consumer.folder,
		entryPoints: ["sessions.mjs"],
		outfile: "bundle.mjs",
		bundle: true,
		format: "esm",
		platform: "node",
		logLevel: "silent",
		...options,
	});
}
