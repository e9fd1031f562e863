//! The words that change consent, by language, and what is said to confirm them. An installation may replace any of them.
//!
//! A message is such a word only as a whole: "stop" is, "please stop by tomorrow" is not. Case, punctuation, spaces at the
//! ends and symbols do not count. Words of all languages are heard whatever the contact's language is, because people write
//! in the language of the keyboard at hand.

use crate::locale::Locale;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use Intent::{Help, Start, Stop};

codes! {
    /// What a person asks for with one word. Where a word stands in two lists, the earlier of these holds.
    pub enum Intent {
        /// Not to be written to any more.
        Stop = "stop",
        /// To be written to again.
        Start = "start",
        /// To be told what this is.
        Help = "help",
    }
}

/// The words that are heard: intent, then language, then the words of that language.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Words(BTreeMap<Intent, BTreeMap<String, Vec<String>>>);

impl Words {
    /// The words that Switchboard ships.
    #[must_use]
    pub fn shipped() -> Self {
        let mut words = Self::default();
        for (intent, language, list) in SHIPPED {
            words.set(*intent, language, list.split('|').map(str::to_owned).collect());
        }
        words
    }

    /// Replaces the words of one intent in one language; an empty list removes them.
    pub fn set(&mut self, intent: Intent, language: &str, words: Vec<String>) {
        self.0.entry(intent).or_default().insert(language.to_owned(), words);
    }
}

/// What `text` asks for, if the whole of it is one of `words`.
#[must_use]
pub fn classify(text: &str, words: &Words) -> Option<Intent> {
    // A long message is no word; folding it would be work for nothing.
    if text.len() > 400 {
        return None;
    }
    let said = fold(text);
    if said.is_empty() {
        return None;
    }
    let heard = |languages: &BTreeMap<String, Vec<String>>| languages.values().flatten().any(|w| fold(w) == said);
    words.0.iter().find(|(_, languages)| heard(languages)).map(|(intent, _)| *intent)
}

/// Lower case, letters and digits only, one space between words: what is left of a message when only its words count.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        let letters: String = word.chars().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect();
        if letters.is_empty() {
            continue;
        }
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(&letters);
    }
    folded
}

/// What is said after a word was heard: intent, then language, then the text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confirmations(BTreeMap<Intent, BTreeMap<String, String>>);

impl Confirmations {
    /// The texts that Switchboard ships.
    #[must_use]
    pub fn shipped() -> Self {
        let mut texts = Self::default();
        for (language, stop, start, help) in TEXTS {
            texts.set(Intent::Stop, language, stop);
            texts.set(Intent::Start, language, start);
            texts.set(Intent::Help, language, help);
        }
        texts
    }

    /// Replaces the text of one intent in one language (BCP 47, as in [`Locale::as_str`]).
    pub fn set(&mut self, intent: Intent, language: &str, text: &str) {
        self.0.entry(intent).or_default().insert(language.to_owned(), text.to_owned());
    }

    /// The text for `intent` in the contact's language, a more general one, or English. `None` only where an installation
    /// emptied the list.
    #[must_use]
    pub fn text(&self, intent: Intent, locale: Option<&Locale>) -> Option<&str> {
        let texts = self.0.get(&intent)?;
        let wanted = locale.into_iter().flat_map(Locale::chain).chain(["en"]);
        wanted.filter_map(|language| texts.get(language)).next().map(String::as_str)
    }
}

/// The shipped words. Those of English are the ones that Twilio hears by default, without YES, which answers questions.
const SHIPPED: &[(Intent, &str, &str)] = &[
    (Stop, "en", "stop|stopall|stop all|unsubscribe|end|quit|cancel|revoke|optout|opt out|opt-out"),
    (Stop, "hi", "रोकें|रोको|बंद|बंद करें|बंद करो|बन्द करें|बन्द करो|स्टॉप"),
    (Stop, "es", "alto|parar|baja|cancelar|detener|no más|no mas"),
    (Stop, "fr", "arrêt|arret|arrêter|arreter|désabonner|desabonner|désinscrire"),
    (Stop, "pt", "pare|parar|sair|cancelar|descadastrar"),
    (Stop, "ar", "توقف|إيقاف|ايقاف|الغاء|إلغاء"),
    (Stop, "bn", "বন্ধ|বন্ধ করুন|থামুন|স্টপ"),
    (Stop, "ta", "நிறுத்து|நிறுத்தவும்|நிறுத்துக"),
    (Stop, "te", "ఆపు|ఆపండి|నిలిపివేయండి"),
    (Stop, "mr", "थांबा|थांबवा|बंद करा"),
    (Stop, "gu", "બંધ|બંધ કરો|રોકો"),
    (Stop, "kn", "ನಿಲ್ಲಿಸಿ|ನಿಲ್ಲಿಸು"),
    (Stop, "ml", "നിർത്തുക|നിർത്തൂ"),
    (Stop, "pa", "ਬੰਦ|ਬੰਦ ਕਰੋ|ਰੋਕੋ"),
    (Stop, "ur", "بند|بند کریں|روکیں"),
    (Stop, "ru", "стоп|отписаться|отмена"),
    (Stop, "de", "stopp|abmelden|abbestellen"),
    (Stop, "id", "berhenti|henti"),
    (Stop, "sw", "simama|sitisha"),
    (Start, "en", "start|unstop|subscribe|resume|optin|opt in|opt-in"),
    (Start, "hi", "शुरू|शुरू करें|शुरू करो|चालू|चालू करें|स्टार्ट"),
    (Start, "es", "iniciar|comenzar|alta|reanudar"),
    (Start, "fr", "commencer|démarrer|demarrer|reprendre|abonner"),
    (Start, "pt", "iniciar|começar|comecar|voltar|retomar"),
    (Start, "ar", "ابدأ|ابدا|بدء|اشتراك"),
    (Start, "bn", "শুরু|শুরু করুন|চালু করুন"),
    (Start, "ta", "தொடங்கு|தொடங்கவும்|தொடர்க"),
    (Start, "te", "ప్రారంభించు|ప్రారంభించండి"),
    (Start, "mr", "सुरू|सुरू करा|चालू करा"),
    (Start, "gu", "શરૂ|શરૂ કરો|ચાલુ કરો"),
    (Start, "kn", "ಪ್ರಾರಂಭಿಸಿ|ಪ್ರಾರಂಭ"),
    (Start, "ml", "തുടങ്ങുക|ആരംഭിക്കുക"),
    (Start, "pa", "ਸ਼ੁਰੂ|ਸ਼ੁਰੂ ਕਰੋ|ਚਾਲੂ ਕਰੋ"),
    (Start, "ur", "شروع|شروع کریں"),
    (Start, "ru", "старт|начать|подписаться"),
    (Start, "de", "anmelden|starten"),
    (Start, "id", "mulai"),
    (Start, "sw", "anza"),
    (Help, "en", "help|info"),
    (Help, "hi", "मदद|सहायता|हेल्प"),
    (Help, "es", "ayuda"),
    (Help, "fr", "aide"),
    (Help, "pt", "ajuda"),
    (Help, "ar", "مساعدة"),
    (Help, "bn", "সাহায্য"),
    (Help, "ta", "உதவி"),
    (Help, "te", "సహాయం"),
    (Help, "mr", "मदत"),
    (Help, "gu", "મદદ"),
    (Help, "kn", "ಸಹಾಯ"),
    (Help, "ml", "സഹായം"),
    (Help, "pa", "ਮਦਦ"),
    (Help, "ur", "مدد"),
    (Help, "ru", "помощь"),
    (Help, "de", "hilfe"),
    (Help, "id", "bantuan"),
    (Help, "sw", "msaada"),
];

/// The shipped texts: language, then what is said after STOP, START and HELP.
const TEXTS: &[(&str, &str, &str, &str)] = &[
    (
        "en",
        "You will get no more of these messages here. Reply START to get them again.",
        "You will get messages here again. Reply STOP to end them.",
        "You get these messages because you are registered with us. Reply STOP to end them, START to get them again.",
    ),
    (
        "hi",
        "अब आपको यहाँ ये संदेश नहीं भेजे जाएँगे। फिर से पाने के लिए START लिखें।",
        "अब आपको यहाँ फिर से संदेश मिलेंगे। बंद करने के लिए STOP लिखें।",
        "आप हमारे यहाँ पंजीकृत हैं, इसलिए ये संदेश आते हैं। बंद करने के लिए STOP, फिर से पाने के लिए START लिखें।",
    ),
    (
        "es",
        "No recibirá más mensajes de este tipo aquí. Responda START para volver a recibirlos.",
        "Volverá a recibir mensajes aquí. Responda STOP para dejar de recibirlos.",
        "Recibe estos mensajes porque está registrado con nosotros. Responda STOP para dejar de recibirlos, START para volver.",
    ),
    (
        "fr",
        "Vous ne recevrez plus ces messages ici. Répondez START pour les recevoir à nouveau.",
        "Vous recevrez à nouveau des messages ici. Répondez STOP pour les arrêter.",
        "Vous recevez ces messages car vous êtes inscrit chez nous. Répondez STOP pour les arrêter, START pour reprendre.",
    ),
    (
        "pt",
        "Você não receberá mais estas mensagens aqui. Responda START para voltar a recebê-las.",
        "Você voltará a receber mensagens aqui. Responda STOP para parar.",
        "Você recebe estas mensagens porque está cadastrado conosco. Responda STOP para parar, START para voltar.",
    ),
    (
        "ar",
        "لن تصلك هذه الرسائل هنا بعد الآن. أرسل START لتصلك من جديد.",
        "ستصلك الرسائل هنا من جديد. أرسل STOP لإيقافها.",
        "تصلك هذه الرسائل لأنك مسجل لدينا. أرسل STOP لإيقافها و START لتصلك من جديد.",
    ),
    (
        "bn",
        "আপনি এখানে এই বার্তাগুলি আর পাবেন না। আবার পেতে START লিখুন।",
        "আপনি এখানে আবার বার্তা পাবেন। বন্ধ করতে STOP লিখুন।",
        "আপনি আমাদের কাছে নিবন্ধিত, তাই এই বার্তাগুলি পান। বন্ধ করতে STOP, আবার পেতে START লিখুন।",
    ),
    (
        "ta",
        "இந்தச் செய்திகள் இனி உங்களுக்கு இங்கு வராது. மீண்டும் பெற START என்று அனுப்பவும்.",
        "செய்திகள் உங்களுக்கு இங்கு மீண்டும் வரும். நிறுத்த STOP என்று அனுப்பவும்.",
        "நீங்கள் எங்களிடம் பதிவு செய்துள்ளதால் இந்தச் செய்திகள் வருகின்றன. நிறுத்த STOP, மீண்டும் பெற START என்று அனுப்பவும்.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hears_a_word_as_a_whole_message_only() {
        let words = Words::shipped();
        let cases = [
            ("STOP", Some(Stop)),
            ("  stop. ", Some(Stop)),
            ("S.T.O.P!", Some(Stop)),
            ("Stop \u{1F64F}", Some(Stop)),
            ("\u{200f}توقف\u{200f}", Some(Stop)),
            ("opt  out", Some(Stop)),
            ("ARRÊT", Some(Stop)),
            ("arre\u{302}t", Some(Stop)),
            ("बंद करें।", Some(Stop)),
            ("stop\nstop", None),
            ("please stop by tomorrow", None),
            ("don't stop", None),
            ("Start!", Some(Start)),
            ("शुरू", Some(Start)),
            ("help?", Some(Help)),
            ("yes", None),
            ("1", None),
            ("", None),
            ("?!", None),
        ];
        for (text, expected) in cases {
            assert_eq!(classify(text, &words), expected, "{text:?}");
        }
    }

    #[test]
    fn every_shipped_word_means_what_its_list_says() {
        let words = Words::shipped();
        for (intent, language, list) in SHIPPED {
            for word in list.split('|') {
                assert_eq!(classify(word, &words), Some(*intent), "{word} in {language}");
                assert_eq!(classify(&word.to_uppercase(), &words), Some(*intent), "{word} in capitals");
            }
        }
    }

    #[test]
    fn an_installation_replaces_words_and_texts() {
        let mut words = Words::shipped();
        words.set(Stop, "en", vec!["leave me".into()]);
        assert_eq!(classify("Leave me!", &words), Some(Stop));
        assert_eq!(classify("cancel", &words), None);
        assert_eq!(classify("baja", &words), Some(Stop));
        let mut texts = Confirmations::shipped();
        texts.set(Stop, "hi-IN", "ठीक है");
        let hindi = Locale::parse("hi-IN").unwrap();
        assert_eq!(texts.text(Stop, Some(&hindi)), Some("ठीक है"));
        assert!(texts.text(Start, Some(&hindi)).unwrap().contains("STOP"));
    }

    #[test]
    fn a_language_without_a_text_is_answered_in_english() {
        let texts = Confirmations::shipped();
        let swedish = Locale::parse("sv-SE").unwrap();
        assert_eq!(texts.text(Stop, Some(&swedish)), texts.text(Stop, None));
        assert!(texts.text(Stop, None).unwrap().contains("START"));
        assert_eq!(Confirmations::default().text(Stop, None), None);
    }

    #[test]
    fn words_and_texts_survive_their_stored_form() {
        let json = serde_json::to_value(Words::shipped()).unwrap();
        assert_eq!(json["stop"]["en"][0], "stop");
        assert_eq!(serde_json::from_value::<Words>(json).unwrap(), Words::shipped());
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing_and_never_panics(text in ".{0,60}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once.clone());
            let _ = classify(&text, &Words::shipped());
        }
    }
}
