// What a binary needs of glibc, by what `objdump -T` says of its symbols.
//   node scripts/glibc.js 2.17 <binary>...   exit code 1 when a binary needs a newer glibc than that

import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { outputOf } from "./programs.js";

/**
 * The symbols of glibc that a binary cannot start without. (A weak one may be missing: the code looks whether it is there.)
 * @param {string} binary
 * @returns {{ name: string, version: string }[]} `version`: of glibc, "2.17"
 */
export function neededSymbols(binary) {
	const output = outputOf("objdump", ["-T", binary]);
	if (output === undefined) throw new Error(`objdump -T ${binary} failed`);
	return [...output.matchAll(/^\S+ (.{7}) \*UND\*\s+\S+ +\(?GLIBC_([\d.]+)\)? +(\S+)/gm)]
		.filter(([, flags]) => !flags.includes("w"))
		.map(([, , version, name]) => ({ name, version }));
}

/** Whether glibc of version `one` is newer than `other`. */
export function isNewer(one, other) {
	return one.localeCompare(other, "en", { numeric: true }) > 0;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
	const [least, ...binaries] = parseArgs({ allowPositionals: true }).positionals;
	for (const binary of binaries) {
		const newer = neededSymbols(binary).filter(({ version }) => isNewer(version, least));
		const list = newer.map(({ name, version }) => `${name} (${version})`).join(", ");
		console.log(
			`${binary}: ${newer.length === 0 ? `runs on glibc ${least}` : `needs a newer glibc than ${least}: ${list}`}`,
		);
		if (newer.length > 0) process.exitCode = 1;
	}
}
