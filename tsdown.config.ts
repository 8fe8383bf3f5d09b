// Builds lib/ into dist/: one ES module and its typings for each public entry of package.json's "exports".

import { defineConfig } from "tsdown";

export default defineConfig({
	entry: ["lib/index.ts", "lib/gate.ts", "lib/next.ts", "lib/needs-node.ts"],
	format: "esm",
	platform: "node",
	target: "node20",
	dts: true,
	clean: true,
	copy: ["lib/bundled.cjs"],
	deps: {
		// The native loader stays outside: package.json's "imports" finds it at run time.
		neverBundle: ["#native"],
		// Better Auth is the user's own copy. As a mere dev dependency it would be bundled, typings and all.
		skipNodeModulesBundle: true,
	},
});
