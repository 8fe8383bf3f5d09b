// A wall clock of a child process' own, which the test sets while the process runs. Nothing happens to the machine's.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findProgram } from "../../scripts/programs.js";

const SOURCE = fileURLToPath(new URL("wall-clock.c", import.meta.url));

/** Why a process cannot have a wall clock of its own here; undefined when it can. */
export const noWallClock =
	process.platform !== "linux"
		? "a library is preloaded as Linux does it"
		: findProgram("cc")
			? undefined
			: "there is no C compiler";

/**
 * Makes a clock that shows the machine's time until it is set.
 * @param {import("node:test").TestContext} t
 * @returns {{ env: NodeJS.ProcessEnv, setAhead: (seconds: number) => void }} `env`: of the process that has this clock;
 * `setAhead`: sets it ahead of the machine's, or behind it by a negative number
 */
export function makeWallClock(t) {
	const folder = mkdtempSync(join(tmpdir(), "wall-clock-"));
	t.after(() => rmSync(folder, { recursive: true }));
	const [library, file] = [join(folder, "wall-clock.so"), join(folder, "ahead")];
	execFileSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, SOURCE]);
	const setAhead = (seconds) => {
		const bytes = new BigInt64Array([BigInt(seconds)]);
		writeFileSync(file, new Uint8Array(bytes.buffer), { flag: "r+" });
	};
	writeFileSync(file, new Uint8Array(8));
	return { env: { LD_PRELOAD: library, WALL_CLOCK_FILE: file }, setAhead };
}
