/** What went wrong, as the service tells it or as the page has found out for itself. */

/** Statuses with which the file or the request itself is at fault: the same again would only be refused again. */
const LASTING = [400, 413, 415, 422];

/** Codes of the page's own, beside those of the service. */
export type OwnCode = 'network' | 'unreadable' | 'empty' | 'no_stream';

export class Problem extends Error {
  constructor(
    readonly title: string,
    readonly detail: string,
    /** The service's stable code, or one of the page's own. */
    readonly code: string,
    readonly status: number,
    /** The option that is at fault, if it is one. */
    readonly option: string | null = null,
  ) {
    super(`${title}: ${detail}`);
  }

  static own(code: OwnCode, status = 0): Problem {
    return new Problem('', '', code, status);
  }

  /** A problem document, or whatever a proxy in between has answered. */
  static fromText(text: string, status: number, phrase: string): Problem {
    try {
      const document = JSON.parse(text) as Record<string, unknown>;
      const told = (name: string, otherwise = ''): string => String(document[name] ?? otherwise);
      return new Problem(told('title', phrase), told('detail'), told('code'), status, told('option') || null);
    } catch {
      return new Problem(`${status} ${phrase}`, text.slice(0, 200), '', status);
    }
  }

  static async of(response: Response): Promise<Problem> {
    return Problem.fromText(await response.text(), response.status, response.statusText);
  }

  /** Any error as a problem. */
  static from(error: unknown): Problem {
    if (error instanceof Problem) return error;
    return new Problem('', String(error instanceof Error ? error.message : error), '', 0);
  }

  /** Whether another try can help. */
  get passing(): boolean {
    return !LASTING.includes(this.status) && this.code !== 'unreadable' && this.code !== 'empty';
  }
}
