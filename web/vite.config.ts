import { defineConfig } from 'vite';

const SERVICE = process.env['VAD_SERVICE'] ?? 'http://127.0.0.1:8000';

export default defineConfig({
  // Relative: the service may stand behind a proxy's path prefix.
  base: './',
  build: {
    outDir: '../app/web/static',
    emptyOutDir: true,
    target: 'es2022',
    // Everything is a file of its own: the Content-Security-Policy allows no data: scripts or styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 150,
  },
  server: {
    proxy: Object.fromEntries(
      ['/vad', '/analyses', '/models', '/options', '/health'].map((path) => [path, { target: SERVICE, ws: true }]),
    ),
  },
});
