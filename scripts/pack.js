// Packs this package for this machine into one tarball that installs without a registry: what `npm pack` takes, and the addon beside the loader.
//   node scripts/pack.js FILE.tgz

import { spawnSync } from "node:child_process";
import {
	copyFileSync,
	cpSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "./programs.js";

/** Of what is linked into the addon. */
const LICENSES = "THIRD-PARTY-LICENSES";

/**
 * Needs what `npm run build` makes.
 * @param {string} tarball where it goes
 */
export function pack(tarball) {
	const addons = readdirSync(root).filter((name) => name.endsWith(".node"));
	if (addons.length === 0) throw new Error("there is no addon yet: `npm run build` makes it");
	const folder = mkdtempSync(join(tmpdir(), "pack-"));
	try {
		for (const { path } of npmPack(root, "--dry-run").files) {
			mkdirSync(dirname(join(folder, path)), { recursive: true });
			cpSync(join(root, path), join(folder, path));
		}
		for (const file of [...addons, LICENSES]) copyFileSync(join(root, file), join(folder, file));
		writeFileSync(join(folder, "package.json"), JSON.stringify(manifest(addons), undefined, 2));
		const { filename } = npmPack(folder);
		mkdirSync(dirname(resolve(tarball)), { recursive: true });
		cpSync(join(folder, filename), tarball);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** The platforms' own packages are left out, as are the scripts that make and check this one. */
function manifest(addons) {
	const {
		scripts: _,
		devDependencies: __,
		optionalDependencies: ___,
		...kept
	} = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
	return { ...kept, files: [...kept.files, ...addons, LICENSES] };
}

function npmPack(cwd, ...args) {
	const { status, stdout, stderr } = spawnSync("npm", ["pack", "--json", "--ignore-scripts", ...args], {
		cwd,
		encoding: "utf8",
	});
	if (status !== 0) throw new Error(`npm pack failed\n${stderr}`);
	return JSON.parse(stdout)[0];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const [tarball] = process.argv.slice(2);
	if (!tarball) throw new Error("usage: node scripts/pack.js FILE.tgz");
	pack(tarball);
}
