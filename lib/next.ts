/** What Next.js has to know about this package. Loads neither the addon nor Next.js: `next.config` is read by every process of a build. */

import type { NextConfig } from "next";
import { invalid } from "./error.js";

/** A configuration of Next.js as a function, which Next.js calls with the phase (`phase-production-build` …). */
export type NextConfigFunction = (
	phase: string,
	context: { defaultConfig: NextConfig },
) => NextConfig | Promise<NextConfig>;

const PACKAGE = "better-auth-redis-store";

/**
 * Makes Next.js load this package from `node_modules` instead of bundling it, by adding it to `serverExternalPackages`. A native addon cannot be
 * bundled: without this step `next build` ends with an error, or the first import does.
 *
 * @param config The configuration as an object, or as a function of (phase, context) that returns one or a promise of one. Default: an empty one.
 * @returns The same kind of thing, with everything else as it was. `config` itself is not changed.
 * @throws {SessionStoreError} `INVALID_ARGUMENT` when it is neither.
 *
 * @example
 * ```ts
 * // next.config.ts
 * import { withRedisStore } from "better-auth-redis-store/next";
 *
 * export default withRedisStore({ reactStrictMode: true });
 * ```
 */
export function withRedisStore(config?: NextConfig): NextConfig;
export function withRedisStore(config: NextConfigFunction): NextConfigFunction;
export function withRedisStore(config: NextConfig | NextConfigFunction = {}): NextConfig | NextConfigFunction {
	if (typeof config !== "function") return withExternal(config);
	return async (phase, context) => withExternal(await config(phase, context));
}

function withExternal(config: NextConfig): NextConfig {
	if (typeof config !== "object" || config === null) {
		throw invalid("config: must be a configuration of Next.js, or a function that returns one");
	}
	const { serverExternalPackages: others = [] } = config;
	return { ...config, serverExternalPackages: [...new Set([...others, PACKAGE])] };
}
