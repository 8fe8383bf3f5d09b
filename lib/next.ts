/** The configuration of Next.js for this package. Loads neither the addon nor Next.js, because every process of a build reads `next.config`. */

import type { NextConfig } from "next";
import { invalid } from "./error.js";

/** A configuration of Next.js as a function, which Next.js calls with the phase (`phase-production-build` …). */
export type NextConfigFunction = (
	phase: string,
	context: { defaultConfig: NextConfig },
) => NextConfig | Promise<NextConfig>;

const PACKAGE = "better-auth-redis-store";

/**
 * Adds this package to `serverExternalPackages`, so that Next.js loads it from `node_modules`. Next.js cannot bundle a native addon. Without
 * this step `next build` ends with an error, or the first import does.
 *
 * @param config A configuration object, or a function of (phase, context) that returns one or a promise of one. Default: an empty object.
 * @returns A new configuration for an object, or a function for a function. All other settings stay the same. `config` itself is not changed.
 * @throws {SessionStoreError} `INVALID_ARGUMENT` when `config` is neither an object nor a function. A returned function rejects with it when
 *   `config` returns no object.
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
