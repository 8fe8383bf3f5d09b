// Files of the example, over another application's `auth` and `storage`.

import { readFileSync } from "node:fs";
import ts from "typescript";

const SOURCES = new URL("../../../examples/nextjs/src/", import.meta.url);

/**
 * What a file of the example exports.
 * @param {string} file below src: "lib/auth-routes"
 * @param {Record<string, object>} given what other files export in this test, by file; the others are the example's own
 */
export function exampleFile(file, given) {
	const source = readFileSync(new URL(`${file}.ts`, SOURCES), "utf8");
	const options = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
	const { outputText } = ts.transpileModule(source, { compilerOptions: options });
	const require = (name) => {
		const path = name.replace(/^\.\//, "lib/").replace(/^@\//, "");
		return given[path] ?? exampleFile(path, given);
	};
	const exports = {};
	new Function("exports", "require", outputText)(exports, require);
	return exports;
}
