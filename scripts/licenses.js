// Writes THIRD-PARTY-LICENSES, which a release puts into each platform's package: the licences of the Rust crates that are linked into
// the addon, as their terms ask. Run it when Cargo.lock changes; __test__/packages/licenses.test.js says when that is due. It is no part
// of a build, because it takes minutes:
//   cargo install --locked cargo-about --version 0.9.3 --features cli
//   npm run licenses

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { addCargoHome, root } from "./programs.js";

const HEAD = `What is linked into this binary beside better-auth-redis-store itself, under its own licence each. Some of it is for other platforms.
Made by scripts/licenses.js with cargo-about.

Rust's standard library is part of it as well: by the contributors of the Rust project (https://www.rust-lang.org), under MIT or Apache-2.0,
whose texts are among those below.
`;
const RULE = "-".repeat(80);

addCargoHome();
const args = ["about", "generate", "--locked", "-c", join("scripts", "licenses.toml"), "--format", "json"];
const { status, stdout, stderr } = spawnSync("cargo", args, { cwd: root, encoding: "utf8", maxBuffer: 2 ** 28 });
if (status !== 0) {
	console.error(`${stderr}\ncargo-about failed, or is not there: see the head of scripts/licenses.js`);
	process.exit(1);
}
const licenses = JSON.parse(stdout).licenses.map(sectionOf).sort();
writeFileSync(join(root, "THIRD-PARTY-LICENSES"), [HEAD, ...licenses].join(`\n${RULE}\n`));
console.log(`${licenses.length} texts`);

/** The crates of a licence, one a line, and its text. Where the crate holds no text, the common one stands for it, and who made the crate. */
function sectionOf({ id, text, source_path, used_by }) {
	const crates = used_by.map(({ crate }) => (source_path ? nameOf(crate) : `${nameOf(crate)} (${makersOf(crate)})`));
	const lines = text
		.trim()
		.split("\n")
		.map((line) => line.trimEnd());
	return `${id}\n\n${[...new Set(crates)].sort().join("\n")}\n\n${lines.join("\n")}\n`;
}

function nameOf({ name, version }) {
	return `${name} ${version}`;
}

function makersOf({ authors, repository }) {
	const names = authors.map((author) => author.replace(/ <.*>/, ""));
	return [...names, repository].join(", ");
}
