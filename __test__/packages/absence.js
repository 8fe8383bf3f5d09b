// Where there is no binary, or none that can be loaded, the error says which package should be there and what to do.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Consumer } from "./consumer.js";
import { NAME, OWN } from "./release.js";

const IMPORT = ["--input-type=module", "--eval", `await import("${NAME}")`];

/** @param {import("./release.js").Release} release */
export function absence(release) {
	test("an install without optional dependencies", async (t) => {
		const consumer = Consumer.for(t, release);
		await consumer.npm("install", NAME, "--omit=optional");
		const { code, output } = await consumer.tryNode(...IMPORT);
		assert.equal(code, 1);
		const { version } = release.manifest(NAME);
		assert.match(output, new RegExp(`Error: ${NAME}: the package ${NAME}-${OWN} ${version}, .* cannot be found`));
		assert.match(output, /optional dependenc.*--omit=optional.*serverExternalPackages/);

		await consumer.npm("install", `${NAME}-${OWN}@${version}`); // what the error advises
		await consumer.node(...IMPORT);
	});

	test("a platform that has none", async (t) => {
		const consumer = Consumer.for(t, release);
		await consumer.npm("install", NAME, "--omit=optional");
		consumer.write("riscv.cjs", 'Object.defineProperty(process, "arch", { value: "riscv64" });');
		const { code, output } = await consumer.tryNode("--require", "./riscv.cjs", ...IMPORT);
		assert.equal(code, 1);
		assert.match(
			output,
			/there is no binary for linux-riscv64-gnu\. There are binaries for darwin-arm64, .*linux-x64-musl/,
		);
	});

	test("one that the system refuses to load", async (t) => {
		const consumer = Consumer.for(t, release);
		await consumer.npm("install", NAME);
		const binary = join(consumer.folder, "node_modules", `${NAME}-${OWN}`, `${NAME}.${OWN}.node`);
		writeFileSync(binary, "no library");
		const { code, output } = await consumer.tryNode(...IMPORT);
		assert.equal(code, 1);
		assert.match(output, new RegExp(`the binary for ${OWN} is there and cannot be loaded: .*\\.node: `));
	});
}
