/** A file and what the service has said of it; shared by the cards that compare settings of it. */

import type { Detection, OptionValues } from './api';
import { Picture } from './picture';
import { detect, type Progress, type Upload } from './upload';

/** What one model made of it. */
interface Kept {
  /** Null where the service had no room. */
  id: string | null;
  picture: Picture | null;
}

export class Source {
  readonly url: string;
  private readonly kept = new Map<string, Kept>();
  private users = 0;

  constructor(readonly file: File) {
    this.url = URL.createObjectURL(file);
  }

  get name(): string {
    return this.file.name;
  }

  /** Names the scores of a model that the service keeps. */
  idOf(model: string): string | null {
    return this.kept.get(model)?.id ?? null;
  }

  /** Uploads; the result's scores are those of later calls too. */
  detect(request: OptionValues, progress: Progress): Upload<Detection> {
    const upload = detect(this.file, request, progress);
    return { cancel: upload.cancel, result: upload.result.then((answer) => this.take(answer)) };
  }

  private take(answer: Detection): Detection {
    const id = answer.analysis_id ?? null;
    const picture = this.kept.get(answer.model.name)?.picture ?? null;
    if (picture && id) picture.id = id;
    this.kept.set(answer.model.name, { id, picture });
    return answer;
  }

  async fetchPicture(model: string): Promise<Picture | null> {
    const kept = this.kept.get(model);
    if (kept?.id && !kept.picture) kept.picture = await Picture.fetch(kept.id);
    return kept?.picture ?? null;
  }

  hold(): void {
    this.users += 1;
  }

  /** The last one to let go frees the file. */
  release(): void {
    this.users -= 1;
    if (this.users === 0) URL.revokeObjectURL(this.url);
  }
}
