// The release, done as .github/workflows/release.yml does it, into a registry of the test's own: the platforms' binaries
// are put into npm/, `npm publish` has napi publish these, and then publishes the package itself. There is no token: npm
// gets a login for each package by trusted publishing.

import assert from "node:assert/strict";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../scripts/programs.js";
import { Registry } from "./registry.js";
import { runProgram } from "./run.js";

export const NAME = "better-auth-redis-store";
/** The folders of npm/, which are the endings of the platform packages' names. */
export const PLATFORMS = readdirSync(join(root, "npm")).sort();
/** The one whose binary this machine has built. Of the others, the packages hold a stand-in. */
export const OWN = readdirSync(root)
	.find((file) => file.startsWith(`${NAME}.`) && file.endsWith(".node"))
	?.slice(NAME.length + 1, -".node".length);

const SOURCES = [
	"package.json",
	"README.md",
	"LICENSE",
	"THIRD-PARTY-LICENSES",
	"index.js",
	"index.d.ts",
	"dist",
	"docs",
	"npm",
];

/** The first npm that publishes without a token. Node.js 20 and 22 bring an older one. */
const TRUSTED_SINCE = "11.5.1";

/** A checkout on which a release is made. */
export class Release {
	registry;
	/** Whether this machine's npm can get a login by trusted publishing. With an older one a token stands in for that. */
	isTrusted = false;
	/** The checkout. */
	folder = mkdtempSync(join(tmpdir(), "release-"));
	#npmrc = join(this.folder, ".npmrc");

	/** @param {ConstructorParameters<typeof Registry>[0]} [options] */
	constructor(options) {
		this.registry = new Registry(options);
	}

	/** With the binaries of all platforms in npm/. */
	async prepare() {
		await this.registry.start();
		for (const source of SOURCES) cpSync(join(root, source), join(this.folder, source), { recursive: true });
		const artifacts = join(this.folder, "artifacts");
		mkdirSync(artifacts);
		for (const platform of PLATFORMS) {
			const binary = join(artifacts, `${NAME}.${platform}.node`);
			if (platform === OWN) copyFileSync(join(root, `${NAME}.${OWN}.node`), binary);
			else writeFileSync(binary, `stands in for the binary of ${platform}`);
		}
		const { stdout: version } = await runProgram("npm", ["--version"], { cwd: this.folder });
		this.isTrusted = version.trim().localeCompare(TRUSTED_SINCE, "en", { numeric: true }) >= 0;
		const token = this.isTrusted ? "" : `${this.registry.url.slice("http:".length)}:_authToken=none\n`;
		writeFileSync(this.#npmrc, `registry=${this.registry.url}\n${token}`);
		const { code, output } = await this.#napi("artifacts");
		assert.equal(code, 0, output);
		return this;
	}

	/** Publishes the platform packages and the package. */
	async publish() {
		// The environment outranks the files: whatever npm runs publishes to the test's registry, and nowhere else.
		const { url, workflowEnv } = this.registry;
		const env = { ...workflowEnv, npm_config_registry: url, npm_config_userconfig: this.#npmrc, PATH: this.#path() };
		const { code, output } = await runProgram("npm", ["publish"], { cwd: this.folder, env });
		assert.equal(code, 0, output);
	}

	/** What napi says to the release before it does any of it. */
	dryRun() {
		return this.#napi("prepublish", "-t", "npm", "--no-gh-release", "--dry-run");
	}

	/**
	 * Makes what npm/ holds, by package.json's targets.
	 * @param {string} folder below the checkout
	 */
	createPlatforms(folder) {
		return this.#napi("create-npm-dirs", "--npm-dir", folder);
	}

	/** @param {string} name */
	manifest(name) {
		const document = this.registry.packages.get(name);
		return document?.versions[document["dist-tags"].latest];
	}

	async end() {
		await this.registry.stop();
		rmSync(this.folder, { recursive: true });
	}

	#napi(...args) {
		return runProgram("napi", args, { cwd: this.folder, env: { PATH: this.#path() } });
	}

	/** With the programs of this checkout's packages, as npm has them for scripts. */
	#path() {
		return `${join(root, "node_modules/.bin")}:${process.env.PATH}`;
	}
}
