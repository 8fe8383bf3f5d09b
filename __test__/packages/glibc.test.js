// The release links against glibc 2.17, which this machine's linker cannot do. What can be seen here: that the code takes nothing from glibc
// that 2.17 did not have, and that the release's own check is there and finds what is too new.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { isNewer, neededSymbols } from "../../scripts/glibc.js";
import { outputOf, root } from "../../scripts/programs.js";
import { NAME, OWN } from "./release.js";
import { runProgram } from "./run.js";

const LEAST = "2.17";
/** Until glibc 2.33 the linker put these into each program. */
const WAS_LINKED = ["stat64", "fstat64", "lstat64", "fstatat64"];

const { header, sharedObjects } = process.report.getReport();
const skip = !header.glibcVersionRuntime && "this machine has no glibc";
const binary = join(root, `${NAME}.${OWN}.node`);

describe("glibc", { skip }, () => {
	test(`the addon uses nothing that glibc ${LEAST} did not have`, () => {
		const needed = neededSymbols(binary);
		assert.ok(needed.length > 50, `only ${needed.length} symbols were found`);
		const oldest = oldestVersions();
		const newer = needed.filter(
			({ name, version }) => isNewer(oldest.get(name) ?? version, LEAST) && !WAS_LINKED.includes(name),
		);
		assert.deepEqual(newer, []);
	});

	test("the addon takes its thread-local storage while the process runs", () => {
		// Of static storage little is left by then (local_dynamic_tls in Cargo.toml); DF_STATIC_TLS is 0x10.
		const flags = outputOf("objdump", ["-p", binary])?.match(/^ *FLAGS +(0x[\da-f]+)$/m)?.[1];
		assert.equal(Number(flags) & 0x10, 0);
	});

	test("the release checks each of its binaries for the glibc version of the documentation", async () => {
		const workflow = readFileSync(join(root, ".github/workflows/release.yml"), "utf8");
		assert.ok(workflow.includes(`node scripts/glibc.js ${LEAST} ./*.node`));
		assert.ok(readFileSync(join(root, "docs/packages.md"), "utf8").includes(`need glibc ${LEAST} or later`));

		const check = (version) => runProgram(process.execPath, ["scripts/glibc.js", version, binary], { cwd: root });
		const here = await check(header.glibcVersionRuntime);
		assert.equal(here.code, 0, here.output);
		const old = await check("2.2");
		assert.equal(old.code, 1);
		assert.match(old.output, /needs a newer glibc than 2\.2: .*\w+ \(2\.\d+/);
	});
});

/** For each symbol of this machine's glibc the version in which it came: a library keeps those that older programs are linked against. */
function oldestVersions() {
	const oldest = new Map();
	for (const library of sharedObjects.filter((path) => /\/(libc|libm|libdl|libpthread|ld-linux[^/]*)\.so/.test(path))) {
		const output = outputOf("objdump", ["-T", library]) ?? "";
		for (const [, version, name] of output.matchAll(/^\S+ .{7} (?!\*UND\*)\S+\s+\S+ +\(?GLIBC_([\d.]+)\)? +(\S+)/gm)) {
			if (!oldest.has(name) || isNewer(oldest.get(name), version)) oldest.set(name, version);
		}
	}
	return oldest;
}
