/** What the service keeps of a file, by the model that has heard it and by how it was read. */

import type { Detection, OptionValues } from '../service/types';
import { Picture } from '../timeline/picture';

interface Entry {
  /** Null where the service had no room. */
  id: string | null;
  picture: Picture | null;
}

export class Kept {
  private readonly entries = new Map<string, Entry>();

  /** Names the scores that the service keeps; null where there are none. */
  idOf(model: string, audio: OptionValues): string | null {
    return this.entries.get(keyOf(model, audio))?.id ?? null;
  }

  take({ model, analysis_id: id }: Detection, audio: OptionValues): void {
    const key = keyOf(model.name, audio);
    const picture = this.entries.get(key)?.picture ?? null;
    if (picture && id) picture.id = id;
    this.entries.set(key, { id: id ?? null, picture });
  }

  /** The service does not have it any more. */
  drop(model: string, audio: OptionValues): void {
    const entry = this.entries.get(keyOf(model, audio));
    if (entry) entry.id = null;
  }

  async picture(model: string, audio: OptionValues): Promise<Picture | null> {
    const entry = this.entries.get(keyOf(model, audio));
    if (entry?.id && !entry.picture) entry.picture = await Picture.fetch(entry.id);
    return entry?.picture ?? null;
  }

  /** The finest look at the same sound: amplitudes are kept by the frames of a model, and some have wide ones. */
  wave(audio: OptionValues): Picture | null {
    const reading = keyOf('', audio);
    const pictures = [...this.entries].flatMap(([key, { picture }]) => (key.endsWith(reading) && picture ? [picture] : []));
    return pictures.reduce<Picture | null>((best, picture) => (best && best.frameMs <= picture.frameMs ? best : picture), null);
  }
}

function keyOf(model: string, audio: OptionValues): string {
  return model + JSON.stringify(Object.entries(audio).sort());
}
