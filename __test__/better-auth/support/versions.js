// The Better Auth releases that are supported: the last of each line, and of 1.3 the oldest that people are told to use.
// Installed under names of their own (package.json), so that all of them run in one process.

/** @typedef {typeof versions[number]} Version */

const packages = {
	"1.3.23": "better-auth-1.3",
	"1.4.22": "better-auth-1.4",
	"1.5.6": "better-auth-1.5",
	"1.6.34": "better-auth-1.6",
	"1.7.25": "better-auth",
};

export const versions = await Promise.all(
	Object.entries(packages).map(async ([release, name]) => ({
		release,
		/** The name that it is installed under. */
		package: name,
		/** The number to compare by: 3 is 1.3. */
		minor: Number(release.split(".")[1]),
		betterAuth: (await import(name)).betterAuth,
		memoryAdapter: (await import(`${name}/adapters/memory`)).memoryAdapter,
		/** Better Auth's plugins by name: `admin`, `anonymous`, `emailOTP`, `organization`. */
		plugins: await import(`${name}/plugins`),
	})),
);
