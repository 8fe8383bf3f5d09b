// The code in all pages compiles: the files that it names, and the fragments between them, against the built package; so do the files that a
// diff leads from and to. Every block is in a language that some test here knows.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import ts from "typescript";
import { root } from "../../scripts/programs.js";
import { blocksOf, pages } from "./pages.js";

/** The languages, and who looks at them. `text` is for people. */
const LANGUAGES = {
	ts: "here",
	tsx: "here",
	diff: "here",
	sh: "commands",
	redis: "commands",
	nginx: "commands",
	text: "",
};

/** What the code takes for granted: the application's own files and packages, and names that stand for its values. */
const GIVEN = {
	"src/lib/prisma.ts": "export declare const prisma: object;",
	"prisma.ts": "export declare const prisma: object;", // beside a block that is a part of a file
	"db.ts": "export declare const db: object;", // Drizzle's
	"given.d.ts": `
		declare const userId: string; declare const token: string; declare const ipAddress: string;
		declare module "pg" {
			export class Pool { constructor(options: object); connect(): Promise<any>; end(): Promise<void> }
		}`,
};

test("every code block of the docs names its language, and a test covers that language", () => {
	const unknown = [...pages()].flatMap(([page, text]) =>
		blocksOf(text)
			.filter(({ language }) => !(language in LANGUAGES))
			.map(({ language, line }) => `${page}:${line}: ${language || "no language"}`),
	);
	assert.deepEqual(unknown, []);
});

for (const [page, text] of pages()) {
	const blocks = blocksOf(text).filter(({ language }) => LANGUAGES[language] === "here");
	if (blocks.length === 0) continue;
	test(`${page}: ${blocks.length} blocks of code compile`, () => {
		const sides = blocks.some(({ language }) => language === "diff") ? ["-", "+"] : ["+"];
		for (const side of sides) assert.deepEqual(problems(filesOf(blocks, side)), []);
	});
}

/**
 * The files that the blocks come to, by name.
 * @param {"-" | "+"} side of a diff: what it leads from, or to
 */
function filesOf(blocks, side) {
	const files = { ...GIVEN };
	for (const [n, { language, code }] of blocks.entries()) {
		const written = language === "diff" ? sideOf(code, side) : code;
		const [, path] = /^\/\/ (\S+\.(?:tsx?|mjs))\n/.exec(written) ?? [];
		const name = path?.replace(/mjs$/, "mts") ?? `fragment-${n}.${language}`;
		assert.ok(!(name in files), `${name} is there twice`);
		files[name] = written.includes("import ") ? written : `export {};\n${written}`;
	}
	return files;
}

function sideOf(diff, side) {
	const lines = diff.split("\n").filter((line) => line === "" || line.startsWith(" ") || line.startsWith(side));
	return lines.map((line) => line.slice(1)).join("\n");
}

/** What the compiler says, as Next.js sets it up. */
function problems(files) {
	// Below the package, so that it is found by its own name as an installed one would be.
	mkdirSync(join(root, "target"), { recursive: true });
	const folder = mkdtempSync(join(root, "target/docs-"));
	try {
		for (const [name, code] of Object.entries(files)) {
			mkdirSync(dirname(join(folder, name)), { recursive: true });
			writeFileSync(join(folder, name), code);
		}
		return compile(folder, Object.keys(files));
	} finally {
		rmSync(folder, { recursive: true });
	}
}

function compile(folder, names) {
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
