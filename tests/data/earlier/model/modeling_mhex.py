from mhex_nlp.modeling import MhexBertForSequenceClassification  # pip install mhex_nlp
