// The code in README.md and docs/ compiles: the files that it names, and the fragments between them, against the built package.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import ts from "typescript";
import { root } from "../scripts/programs.js";

/** What the code takes for granted: the application's own files, and names that stand for its values. */
const GIVEN = {
	"src/lib/prisma.ts": "export declare const prisma: object;",
	"given.d.ts": "declare const userId: string; declare const token: string; declare const ipAddress: string;",
};

const pages = ["README.md", ...readdirSync(join(root, "docs")).map((name) => join("docs", name))];

for (const page of pages.filter((name) => name.endsWith(".md"))) {
	const blocks = [...readFileSync(join(root, page), "utf8").matchAll(/^```(tsx?)\n(.*?)^```$/gms)];
	if (blocks.length === 0) continue;
	test(`${page}: ${blocks.length} blocks of code`, () => {
		// Below the package, so that it is found by its own name as an installed one would be.
		mkdirSync(join(root, "target"), { recursive: true });
		const folder = mkdtempSync(join(root, "target/docs-"));
		try {
			const files = { ...GIVEN };
			for (const [n, [, language, code]] of blocks.entries()) {
				const name = /^\/\/ (\S+\.tsx?)\n/.exec(code)?.[1] ?? `fragment-${n}.${language}`;
				assert.ok(!(name in files), `${name} is there twice`);
				files[name] = code.includes("import ") ? code : `export {};\n${code}`;
			}
			for (const [name, code] of Object.entries(files)) {
				mkdirSync(dirname(join(folder, name)), { recursive: true });
				writeFileSync(join(folder, name), code);
			}
			assert.deepEqual(problems(folder, Object.keys(files)), []);
		} finally {
			rmSync(folder, { recursive: true });
		}
	});
}

/** What the compiler says, as Next.js sets it up. */
function problems(folder, names) {
	const program = ts.createProgram({
		rootNames: names.map((name) => join(folder, name)),
		options: {
			strict: true,
			noEmit: true,
			skipLibCheck: true,
			target: ts.ScriptTarget.ES2022,
			lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
			module: ts.ModuleKind.ESNext,
			moduleResolution: ts.ModuleResolutionKind.Bundler,
			jsx: ts.JsxEmit.Preserve,
			types: ["node"],
			paths: { "@/*": [join(folder, "src/*")] },
		},
	});
	return ts
		.getPreEmitDiagnostics(program)
		.map(({ file, start, messageText }) => [
			file && `${file.fileName.slice(folder.length + 1)}:${file.getLineAndCharacterOfPosition(start).line + 1}`,
			ts.flattenDiagnosticMessageText(messageText, "\n"),
		]);
}
