// withRedisStore's types: a configuration stays one, a function stays one, and a misspelt setting is told. Checked by tsc; never run.

import { withRedisStore } from "better-auth-redis-store/next";
import type { NextConfig } from "next";

export const config: NextConfig = withRedisStore({ reactStrictMode: true });
export const none: NextConfig = withRedisStore();
export const fromFunction = withRedisStore(async (phase, { defaultConfig }) => ({ ...defaultConfig, env: { phase } }));
export const called: Promise<NextConfig> | NextConfig = fromFunction("phase-production-build", { defaultConfig: {} });

// @ts-expect-error No setting of Next.js.
withRedisStore({ reactStrictMood: true });
// @ts-expect-error No configuration.
withRedisStore("standalone");
